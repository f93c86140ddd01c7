// Connection records as text, and the way to the log.
#include <ouro/runtime/connection_record.hpp>

#include <cstdio>

#include "loop_state.hpp"

namespace ouro {

const char* to_string(closed_by who) noexcept {
    switch (who) {
    case closed_by::us:
        return "us";
    case closed_by::peer:
        return "peer";
    case closed_by::failure:
        return "failure";
    }
    return "?";
}

std::string connection_record::describe() const {
    char seconds[32];
    std::snprintf(seconds, sizeof(seconds), "%.3f",
                  std::chrono::duration<double>(lost_at - made_at).count());
    std::string text = local + " <- " + peer + ", " + seconds + " s, " +
                       std::to_string(bytes_received) + " B in, " + std::to_string(bytes_sent) +
                       " B out, ";
    text += aborted ? "aborted by " : "closed by ";
    text += to_string(who);
    if (bytes_dropped) text += ", " + std::to_string(bytes_dropped) + " B dropped";
    if (why) text += ": " + why.describe();
    return text;
}

void loop::set_connection_log(function<void(const connection_record&)> log) {
    using held = decltype(log);
    state_->connection_log = log ? std::make_shared<held>(std::move(log)) : nullptr;
}

namespace detail {

bool logs_connections(loop& home) noexcept { return home.state().connection_log != nullptr; }
void log_connection(loop& home, const connection_record& ended) {
    const auto log = home.state().connection_log;
    (*log)(ended);
}
clock::time_point turn_time(loop& home) noexcept { return home.state().turn_began; }

}  // namespace detail
}  // namespace ouro
