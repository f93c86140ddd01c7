// Tasks that end a while later, for tests of what waits for several.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <ouro/runtime/spawn.hpp>

namespace ouro::test {

inline task<int> give_later(int value, std::chrono::milliseconds delay) {
    co_await sleep(delay);
    co_return value;
}
inline task<int> fail_later(errc why, std::chrono::milliseconds delay) {
    co_await sleep(delay);
    co_return why;
}
/// The cause in one word.
inline const char* name_of(cancel_cause cause) {
    if (cause == cancel_cause::user) return "user ";
    if (cause == cancel_cause::not_needed) return "loser ";
    return cause == cancel_cause::sibling_failed ? "sibling " : "other ";
}
/// Waits until cancelled, and notes who asked.
inline task<int> wait_long(std::shared_ptr<std::string> story) {
    const auto ended = co_await as_result(sleep(std::chrono::hours(1)));
    if (!ended) *story += name_of(ended.error().cause());
    co_await result<>(ended);
    co_return 0;
}

}  // namespace ouro::test
