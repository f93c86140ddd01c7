// Everything.
#pragma once

#include <ouro/net/address.hpp>
#include <ouro/net/resolve.hpp>
#include <ouro/net/socket.hpp>
#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/protocol.hpp>
#include <ouro/proto/server.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/streams/open_connection.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/start_server.hpp>
#include <ouro/streams/writer.hpp>
