// The commands: one request in, one reply out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "store.hpp"

namespace kv {

/// What all clients share.
struct database {
    store data{};
    time_point started{};
    std::size_t clients = 0;
    std::uint64_t connections = 0;  // accepted so far
    std::uint64_t commands = 0;     // answered so far
};

enum class after { go_on, close };

/// Answers one request: appends exactly one reply to `to`. `words` has at least one.
after answer(database& in, time_point now, std::span<const std::string_view> words,
             std::string& to);

}  // namespace kv
