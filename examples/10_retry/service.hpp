// A service that applies every request exactly once, and a client that asks until it is answered.
//
// A line each way: "alice 3 50" asks to add 50 and is alice's third request; "3 120" answers that
// the balance is 120 now. A client asks one thing at a time and numbers what it asks, so the server
// has to remember one number and one answer for each client.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <ouro/ouro.hpp>

/// Gives `attempt` at most `limit`. Too late is `std::errc::timed_out`, not a cancellation, so
/// that the caller can tell it from its own.
template <class T>
ouro::task<T> within(std::chrono::milliseconds limit, ouro::task<T> attempt) {
    auto running = ouro::spawn(std::move(attempt));
    bool late = false;
    auto timer = ouro::loop::current().call_later(
        limit, [&late, running]() mutable { late = running.cancel(ouro::cancel_cause::timeout); });
    auto outcome = co_await ouro::as_result(running.join());
    timer.cancel();
    if (!outcome && late) outcome = ouro::error(std::errc::timed_out, "wait for an answer");
    co_return co_await std::move(outcome);
}

/// The server's side: one balance for all clients.
class ledger {
  public:
    /// The answer to one line; nothing when it deserves none.
    std::optional<std::string> answer(std::string_view line);
    /// What has been added so far.
    long balance() const noexcept { return balance_; }

    /// A bug to be found, see simulation_test.cpp: a request that comes again is applied again.
    bool forget_ids = false;

  private:
    struct last_request {
        std::uint64_t number = 0;
        long answer = 0;
    };
    long balance_ = 0;
    std::map<std::string, last_request> clients_;
};

/// Serves `book` at `where`. It is shared because connections may outlive whoever started this.
ouro::task<ouro::server> serve_ledger(std::shared_ptr<ledger> book, ouro::address where);

/// How a client asks again.
struct retry_options {
    std::chrono::milliseconds answer_within{500};  ///< one attempt, connecting included
    std::chrono::milliseconds first_wait{20};      ///< between two attempts, doubled each time
    std::chrono::milliseconds longest_wait{2000};
};

/// The client's side. One call at a time.
class client {
  public:
    explicit client(ouro::address server, retry_options how = {});

    /// Adds `amount` and gives the balance after that. Asks again until it is answered.
    ///
    /// Cancel  whether the amount was added is then unknown.
    ouro::task<long> add(long amount);
    /// Attempts so far, of all calls.
    unsigned attempts() const noexcept { return attempts_; }

  private:
    ouro::task<long> ask(std::uint64_t number, long amount);

    ouro::address server_;
    retry_options how_;
    std::string name_;  // of this client and no other
    std::uint64_t number_ = 0;
    unsigned attempts_ = 0;
    std::optional<ouro::stream> stream_;  // while it owes no answer
};
