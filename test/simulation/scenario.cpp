// The course of a scenario: servers, clients, a saboteur, and the good end.
#include "scenario.hpp"

#include <algorithm>
#include <cstring>

#include <ouro/testing/simulation.hpp>

#include "service.hpp"

namespace ouro::simulated {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using testing::simulation;

// How long a scenario may go on after all faults have stopped.
constexpr auto good_end_limit = 1800s;
// How much later than its deadline a timer may fire in a loop whose callbacks take no time.
constexpr auto timer_slack = 5ms;

manner draw_manner() { return static_cast<manner>(draw(0, 3)); }

/// Calls `what` when it dies: also when its task is cancelled.
template <class F>
struct at_end {
    F what;
    explicit at_end(F called) : what(std::move(called)) {}
    at_end(const at_end&) = delete;
    at_end& operator=(const at_end&) = delete;
    ~at_end() { what(); }
};

// ---- tasks that are no conversations

/// Timers fire in order of their deadlines, never early, hardly late; cancelled ones do not.
task<> watch_timers() {
    loop& home = loop::current();
    auto last = std::make_shared<clock::time_point>();
    for (int i = 0; i < 3; ++i) {
        const auto delay = draw_time(0, 500'000);
        const auto due = home.deadline_after(delay);
        auto never = home.call_later(delay, [] { wrong("a cancelled timer fired"); });
        auto fires = home.call_later(delay, [due, last] {
            if (due < *last) wrong("timers fired out of order");
            if (loop::current().time() < due) wrong("a timer fired early");
            if (loop::current().time() > due + timer_slack) wrong("a timer fired late");
            *last = due;
        });
        const auto undo = at_end([fires]() mutable { fires.cancel(); });
        never.cancel();
        co_await sleep(delay);
        if (home.time() < due) wrong("a sleep ended early");
    }
}

/// Names that are known resolve to what they stand for, others do not.
task<> look_names_up(bool strict) {
    auto known = co_await as_result(resolve("service-of-names", 80));
    if (known && (known->size() != 2 || known->front().host() != "10.0.0.50")) {
        wrong("a name resolved to something else");
    }
    if (!known && strict) wrong("a name did not resolve: " + known.error().message());
    if (!known && known.error() == errc::cancelled) co_await result<>(errc::cancelled);
    auto unknown = co_await as_result(resolve("nobody", 80));
    if (unknown) wrong("a name that is unknown resolved");
    if (!unknown && unknown.error() == errc::cancelled) co_await result<>(errc::cancelled);
}

/// What the two ends of a datagram exchange know.
struct datagram_post {
    std::uint64_t number = 0;
    std::vector<std::size_t> sizes;       // of those that were sent
    std::vector<unsigned> times_arrived;  // each
    std::shared_ptr<conversation> text;   // their contents
};

task<> collect_datagrams(std::shared_ptr<datagram_post> post, std::shared_ptr<socket> at) {
    std::vector<std::byte> memory(9'000), expected(9'000);
    for (;;) {
        const auto room = mut_bytes(memory).first(draw(16, memory.size()));
        auto got = co_await as_result(at->recv_into(room));
        if (!got) {
            if (got.error() == errc::cancelled) co_return;
            if (got.error() != std::errc::connection_refused) {
                wrong("receiving a datagram failed: " + got.error().message());
            }
            continue;
        }
        std::uint64_t index = 0;
        std::memcpy(&index, memory.data(), sizeof index);
        if (*got < sizeof index || index >= post->sizes.size()) {
            wrong("a datagram arrived that nobody sent");
            continue;
        }
        const std::size_t whole = post->sizes[index];
        if (*got != std::min(whole, room.size())) wrong("a datagram has the wrong size (fault 44)");
        post->text->fill(side::server, index * 10'000 + 8, mut_bytes(expected).first(whole));
        if (!std::equal(memory.begin() + 8, memory.begin() + static_cast<std::ptrdiff_t>(*got),
                        expected.begin())) {
            wrong("a datagram has wrong contents");
        }
        if (++post->times_arrived[index] > 2) wrong("a datagram arrived more than twice");
    }
}

task<> exchange_datagrams(std::shared_ptr<scene> in) {
    auto post = std::make_shared<datagram_post>();
    post->text = std::make_shared<conversation>(draw(1, 1'000'000), 0, false);
    std::shared_ptr<socket> ends[2];
    for (auto& each : ends) {
        auto made = socket::open(loop::current(), AF_INET, SOCK_DGRAM);
        if (!made) {
            if (in->strict || !may_prevent_a_connection(made.error())) {
                wrong("no datagram socket: " + made.error().message());
            }
            co_return;
        }
        each = std::make_shared<socket>(std::move(*made));
        const auto host = "10.0.0." + std::to_string(draw(60, 63));
        co_await each->bind(*address::from_ip(host, 0));
    }
    co_await ends[0]->connect(co_await ends[1]->local_address());
    co_await ends[1]->connect(co_await ends[0]->local_address());
    auto collecting = spawn(collect_datagrams(post, ends[1]));
    const auto undo = at_end([collecting]() mutable { collecting.cancel(); });
    for (std::uint64_t i = 0; i < 10; ++i) {
        std::vector<std::byte> message(draw(8, once_in(2) ? 64 : 8'000));
        std::memcpy(message.data(), &i, sizeof i);
        post->text->fill(side::server, i * 10'000 + 8, mut_bytes(message).subspan(8));
        post->sizes.push_back(message.size());
        post->times_arrived.push_back(0);
        auto sent = co_await as_result(ends[0]->send(message));
        if (!sent && sent.error() == errc::cancelled) co_await std::move(sent);
        if (!sent && sent.error() != std::errc::connection_refused) {
            wrong("sending a datagram failed: " + sent.error().message());
        }
        if (sent && *sent != message.size()) wrong("a datagram was sent in part");
        if (once_in(2)) co_await sleep(draw_time(0, 5'000));
    }
    co_await sleep(1s);
    const auto lost = std::count(post->times_arrived.begin(), post->times_arrived.end(), 0u);
    if (in->strict && lost) wrong("a datagram was lost in a healthy world");
}

// ---- the course

struct client {
    task_handle<> running;
    bool asked_to_end = false;
};

class course {
  public:
    explicit course(const scenario_options& how)
        : how_(how), in_(std::make_shared<scene>()), world_(simulation::current()) {
        in_->most_bytes = how.most_bytes;
        in_->strict_ends = how.strict_ends;
        in_->strict = in_->healthy = how.strict;
        world_.set_name("service-of-names", {"10.0.0.50", "fd00::50"});
        world_.expect_reports(&course::is_expected);
    }

    task<> run() {
        co_await open_services();
        const unsigned tasks = how_.tasks ? how_.tasks : static_cast<unsigned>(draw(10, 50));
        lasts_ = draw_time(20'000, once_in(10) ? 60'000'000 : 3'000'000);
        for (unsigned i = 0; i < tasks; ++i) clients_.push_back({spawn(be_something()), false});
        if (!in_->strict) co_await sabotage();
        const auto rest = lasts_ - (world_.elapsed() - began_);
        if (rest > 0us) co_await sleep(rest);

        world_.heal();
        auto limit = loop::current().call_later(good_end_limit, [this] { tell_what_hangs(); });
        co_await join_clients();
        co_await sleep_until(quiet_at_);
        for (timer_handle& each : later_) each.cancel();
        co_await prove_liveness();
        while (!in_->parties.empty()) co_await sleep(100ms);
        for (const auto& [number, each] : in_->conversations) {
            if (each->strict() && !each->finished()) wrong("a good conversation has no good end");
        }
        for (const auto& each : services_) each->close();
        for (const auto& each : services_) co_await each->closed();
        limit.cancel();
    }

  private:
    /// The reports that must come: accepting pauses when there are no descriptors (rule 425).
    static bool is_expected(const failure_report& report) {
        if (report.subject != "server" || !report.message.starts_with("accepting pauses")) {
            return false;
        }
        for (const auto known :
             {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system,
              std::errc::no_buffer_space, std::errc::not_enough_memory}) {
            if (report.error == known) return true;
        }
        return false;
    }

    task<> open_services() {
        const int count = static_cast<int>(draw(2, 4));
        for (int i = 0; i < count; ++i) {
            const bool unix_domain = once_in(3);
            services_.push_back(std::make_shared<service>(in_, i, draw_manner(), unix_domain));
            co_await services_.back()->open();
        }
        began_ = world_.elapsed();
    }

    std::shared_ptr<service> any_service() { return services_[draw(0, services_.size() - 1)]; }

    task<> be_something() {
        co_await sleep(draw_time(0, static_cast<std::uint64_t>(lasts_.count())));
        const auto kind = draw(0, 19);
        if (kind == 0) co_return co_await watch_timers();
        if (kind == 1) co_return co_await look_names_up(in_->strict);
        if (kind <= 3) co_return co_await exchange_datagrams(in_);
        co_await be_client(in_, any_service(), draw_manner());
    }

    // ---- what goes wrong on purpose

    task<> sabotage() {
        const auto acts = draw(0, 12);
        for (std::uint64_t i = 0; i < acts; ++i) {
            co_await sleep(
                microseconds(draw(0, 2 * static_cast<std::uint64_t>(lasts_.count()) / (acts + 1))));
            co_await act();
        }
    }

    std::string any_host() {
        const auto kind = draw(0, 2);
        if (kind == 0) return "10.0.0.1";
        if (kind == 1) return "10.0.0." + std::to_string(draw(100, 103));
        return "10.0.0." + std::to_string(draw(2, 1 + services_.size()));
    }

    task<> act() {
        switch (draw(0, 7)) {
        case 0:
        case 1:
        case 2: {
            client& victim = clients_[draw(0, clients_.size() - 1)];
            if (victim.running.cancel()) victim.asked_to_end = true;
            break;
        }
        case 3: {
            const std::string one = any_host(), other = any_host();
            world_.cut(one, other);
            const auto gap = draw_time(1'000, 10'000'000);
            later_.push_back(loop::current().call_later(
                gap, [one, other] { simulation::current().mend(one, other); }));
            break;
        }
        case 4:
            world_.crash(any_host());
            break;
        case 5: {
            const auto victim = any_service();
            victim->close();
            co_await sleep(draw_time(0, 100'000));
            if (!victim->is_open()) co_await victim->open();
            break;
        }
        default: {
            const auto victim = any_service();
            if (once_in(2)) {
                victim->abort_clients();
                break;
            }
            later_.push_back(victim->close_clients());
            quiet_at_ = loop::current().deadline_after(close_patience);
        }
        }
    }

    // ---- the good end

    task<> join_clients() {
        for (client& each : clients_) {
            auto ended = co_await as_result(each.running.join());
            if (ended || may_prevent_a_connection(ended.error())) continue;
            const bool cancelled = ended.error() == errc::cancelled;
            if (!cancelled || !each.asked_to_end) {
                wrong("a task failed: " + ended.error().describe());
            }
        }
    }

    /// With all faults gone, every server must serve good clients.
    task<> prove_liveness() {
        in_->strict = true;
        for (const auto& each : services_) {
            auto served = co_await as_result(be_client(in_, each, draw_manner()));
            if (!served) wrong("no service after the faults: " + served.error().message());
        }
    }

    void tell_what_hangs() {
        std::string text = "it does not come to an end although all faults have stopped";
        for (const client& each : clients_) {
            if (!each.running.done()) text += "; " + each.running.name() + " runs";
        }
        for (const auto& [number, each] : in_->parties) text += "; " + each->describe();
        wrong(text);
        loop::current().stop();
    }

    const scenario_options how_;
    std::shared_ptr<scene> in_;
    simulation& world_;
    std::vector<std::shared_ptr<service>> services_;
    std::vector<client> clients_;
    std::vector<timer_handle> later_;  // that end what was done on purpose
    clock::time_point quiet_at_ = clock::time_point::min();
    microseconds lasts_{};
    microseconds began_{};
};

}  // namespace

task<> run_scenario(scenario_options how) {
    course all(how);
    co_await all.run();
}

}  // namespace ouro::simulated
