// Precompiled for every test binary: the slow headers nearly every test includes. A test still
// includes what it uses, so it compiles without this file too.
#pragma once

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>
