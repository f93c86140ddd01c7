// A TCP proxy that copies nothing: what one side receives is a lease, which the other one sends.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <optional>
#include <utility>

#include <ouro/ouro.hpp>

namespace proxy {

class side;
ouro::task<> bring_together(std::shared_ptr<side> front, ouro::address target);

/// One of the two connections of a client. They hold each other until both are lost.
class side final : public ouro::lease_protocol, public std::enable_shared_from_this<side> {
  public:
    side() = default;
    /// The client's: it asks for `target`.
    explicit side(ouro::address target) : target_(target) {}

    /// Begins to pass bytes on, both ways.
    static void join(const std::shared_ptr<side>& one, const std::shared_ptr<side>& other) {
        one->other_ = other;
        other->other_ = one;
        one->link_->resume_reading();
        other->link_->resume_reading();
    }
    ouro::transport& link() { return *link_; }
    /// Ends the connection with a reset: its peer would take what it got for everything if it met
    /// an end.
    void reset() {
        const linger none{.l_onoff = 1, .l_linger = 0};
        const auto* on = link_->get_extra_info<const ouro::socket_view*>("socket");
        ::setsockopt(on->fd(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
        link_->abort();
    }

    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
        link_->pause_reading();  // until the other side is there
        if (target_) ouro::spawn(bring_together(shared_from_this(), *target_));
    }
    void data_received(ouro::buffer_lease data) override { other_->link_->write(std::move(data)); }
    // A slow receiver slows its sender down, and nothing piles up here.
    void pause_writing() override {
        if (other_) other_->link_->pause_reading();
    }
    void resume_writing() override {
        if (other_) other_->link_->resume_reading();
    }
    // Half a connection may end: the other direction goes on.
    bool eof_received() override {
        ended_ = true;
        other_->link_->write_eof();
        if (!other_->ended_) return true;
        other_->link_->close();  // what is queued leaves first
        return false;
    }
    void connection_lost(ouro::error why) override {
        if (const auto other = std::exchange(other_, nullptr)) {
            other->other_ = nullptr;
            why ? other->reset() : other->link_->close();
        }
    }

  private:
    std::optional<ouro::address> target_;
    std::shared_ptr<ouro::transport> link_;
    std::shared_ptr<side> other_;
    bool ended_ = false;  // its peer sends no more
};

/// Connects to the server that `front`, which was just accepted, asks for.
inline ouro::task<> bring_together(std::shared_ptr<side> front, ouro::address target) {
    auto reached = co_await ouro::as_result(
        ouro::create_connection([] { return std::make_shared<side>(); }, target));
    if (!reached) {
        front->reset();
    } else if (front->link().is_closing()) {
        reached->protocol->reset();
    } else {
        side::join(front, reached->protocol);
    }
}

/// Listens on `where` for clients of `target`.
inline ouro::task<ouro::server> serve(ouro::address where, ouro::address target) {
    return ouro::create_server([target] { return std::make_shared<side>(target); }, where);
}

}  // namespace proxy
