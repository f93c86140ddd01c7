// Servers of a scenario: of each kind, closed and opened again while clients talk to them.
#pragma once

#include <memory>
#include <string>

#include "party.hpp"

namespace ouro::simulated {

/// What carries a conversation.
enum class manner : unsigned char { streaming, buffered, streams, socket };

/// A server at a fixed place.
class service {
  public:
    service(std::shared_ptr<scene> in, int number, manner how, bool unix_domain);

    /// Opens it; tries again until that works.
    task<> open();
    /// Stops listening. Its connections live on.
    void close();
    /// Aborts its connections.
    void abort_clients();
    /// Closes its connections; aborts those that are left when the timer it returns fires.
    timer_handle close_clients();
    /// Waits until it is closed and without connections.
    task<> closed();
    bool is_open() const noexcept { return open_; }
    int number() const noexcept { return number_; }
    const address& where() const noexcept { return where_; }
    /// A name that resolves to where it is, among others; empty for a unix socket.
    const std::string& name() const noexcept { return name_; }

  private:
    task<> open_once();
    void choose_path();
    void break_off_clients(int tag) const;
    /// Which service, and which opening of it.
    int tag() const noexcept { return number_ + 100 * static_cast<int>(times_opened_); }
    task<> accept_all(std::shared_ptr<socket> listener);
    template <class Talker>
    auto factory();

    std::shared_ptr<scene> in_;
    const int number_;
    const manner how_;
    address where_;
    std::string name_;
    server server_{};
    task_handle<> accepting_{};
    bool open_ = false;
    unsigned times_opened_ = 0;
};

/// A client of `at`, from its connect to the end of its conversation. Fails only when cancelled.
task<> be_client(std::shared_ptr<scene> in, std::shared_ptr<service> at, manner how);

}  // namespace ouro::simulated
