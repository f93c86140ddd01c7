// The server's end, in callbacks and timers.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "line_protocol.hpp"
#include "shop.hpp"

class callback_server : public line_protocol {
  public:
    explicit callback_server(std::shared_ptr<shop> of) : shop_(std::move(of)) {}
    void connection_lost(ouro::error) override { pause_.cancel(); }

  private:
    // Answers must keep their order: a slow one holds up what the client asks next.
    void line_received(std::string request) override {
        if (!shop::is_slow(request)) return reply(request);
        link().pause_reading();
        pause_ = ouro::loop::current().call_later(shop::pause, [this, request] {
            reply(request);
            link().resume_reading();
        });
    }
    void reply(const std::string& request) { link().write(shop_->answer(request) + "\n"); }

    std::shared_ptr<shop> shop_;
    ouro::timer_handle pause_;
};
