// The client's end, in callbacks and timers.
#pragma once

#include <chrono>
#include <deque>
#include <string>
#include <utility>

#include "line_protocol.hpp"

class callback_client : public line_protocol {
  public:
    using callback = ouro::function<void(ouro::result<std::string>)>;

    /// Calls `then` once: with the answer, or with the error that came instead.
    void request(const std::string& text, std::chrono::milliseconds patience, callback then) {
        if (link().is_closing()) return then(ouro::error(std::errc::not_connected));
        link().write(text + "\n");
        auto too_late = [this] { give_up(std::errc::timed_out); };
        waiting_.push_back(
            {std::move(then), ouro::loop::current().call_later(patience, std::move(too_late))});
    }
    void connection_lost(ouro::error why) override {
        give_up(why ? std::move(why) : ouro::error(ouro::errc::end_of_stream));
    }

  private:
    struct pending {
        callback then;
        ouro::timer_handle limit;
    };
    void line_received(std::string answer) override {
        if (!waiting_.empty()) finish_first(std::move(answer));
    }
    void finish_first(ouro::result<std::string> outcome) {
        pending first = std::move(waiting_.front());
        waiting_.pop_front();
        first.limit.cancel();
        first.then(std::move(outcome));
    }
    // Answers come in order: when one is missing, so are all that follow.
    void give_up(const ouro::error& why) {
        link().abort();
        while (!waiting_.empty()) finish_first(why);
    }

    std::deque<pending> waiting_;
};
