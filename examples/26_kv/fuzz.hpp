// What must hold for any bytes that a client sends.
#pragma once

#include <cstddef>
#include <cstdint>

/// Gives a service the bytes at once and in pieces, and aborts when what comes back differs. The
/// first byte says how the pieces are cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
