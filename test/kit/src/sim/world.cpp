// The clock, the events, the links and the trace of a simulated world.
#include "world.hpp"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <charconv>

namespace ouro::testing::sim {
namespace {

using std::chrono::microseconds;

// Any time will do, but not zero, which programs may take for "never".
constexpr auto beginning = std::chrono::seconds(1'000'000);

}  // namespace

world::world(const simulation_options& options)
    : settings(options), luck(options), now_(clock::time_point(beginning)) {
    names_["localhost"] = {"127.0.0.1", "::1"};
}

world::~world() {
    events_.clear();
    processes.forget();
    descriptors_.clear();
}

// ---- time and events

std::chrono::microseconds world::elapsed() const noexcept {
    return std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch() -
                                                                 beginning);
}

void world::at(clock::time_point when, ouro::function<void()> what) {
    events_.push_back({when, ++event_count_, std::move(what)});
    std::push_heap(events_.begin(), events_.end());
}

void world::run_due_events() {
    while (!events_.empty() && events_.front().when <= now_) {
        std::pop_heap(events_.begin(), events_.end());
        auto what = std::move(events_.back().what);
        events_.pop_back();
        what();
    }
}

// ---- links

namespace {

std::pair<std::string, std::string> in_order(std::string one, std::string other) {
    if (other < one) std::swap(one, other);
    return {std::move(one), std::move(other)};
}

}  // namespace

world::link world::link_of(const address& one, const address& other) {
    return in_order(one.host(), other.host());
}

bool world::is_cut(const address& one, const address& other) const {
    if (cut_.empty() && parted_.empty()) return false;
    const link which = link_of(one, other);
    return cut_.contains(which) || parted_.contains(which) || cut_.contains({"*", which.first}) ||
           cut_.contains({"*", which.second});
}

/// How long the next thing takes from one host to the other.
clock::duration world::travel(const address& from, const address& to) {
    delay_range usual{settings.least_delay, settings.most_delay};
    if (!delays_.empty()) {
        const auto own = delays_.find(link_of(from, to));
        if (own != delays_.end()) usual = own->second;
    }
    clock::duration takes =
        microseconds(luck.draw(purpose::delay, static_cast<std::uint64_t>(usual.least.count()),
                               static_cast<std::uint64_t>(usual.most.count())));
    if (auto extra = luck.strikes(fault_kind::delay, 1'000, 500'000)) takes += microseconds(*extra);
    if (auto gap = luck.strikes(fault_kind::partition, 10'000, 5'000'000)) {
        part_for(from, to, microseconds(*gap));
    }
    if (auto gap = luck.strikes(fault_kind::clog, 1'000, 1'000'000)) {
        clogged_[link_of(from, to)] = now_ + microseconds(*gap);
    }
    if (!clogged_.empty()) {
        const auto until = clogged_.find(link_of(from, to));
        if (until != clogged_.end() && until->second > now_) takes += until->second - now_;
    }
    return takes;
}

void world::part_for(const address& one, const address& other, microseconds how_long) {
    const link which = link_of(one, other);
    clock::time_point& until = parted_[which];
    until = std::max(until, now_ + how_long);
    after(how_long, [this, which] {
        const auto found = parted_.find(which);
        if (found == parted_.end() || found->second > now_) return;  // mended, or parted again
        parted_.erase(found);
        carry_on();
    });
}

void world::set_delay(const std::string& host, const std::string& other, microseconds least,
                      microseconds most) {
    delays_[in_order(host, other)] = {least, most};
}

void world::cut(const std::string& host, const std::string& other) {
    cut_.insert(in_order(host, other));
}

void world::mend(const std::string& host, const std::string& other) {
    const link which = in_order(host, other);
    cut_.erase(which);
    parted_.erase(which);
    carry_on();
}

/// What was held back goes on its way again, where the link holds.
void world::carry_on() {
    for (const auto& each : sockets_) {
        const endpoint_ptr socket = each.lock();
        if (!socket) continue;
        if (!socket->under_way.empty()) pump_at(socket, now_);
    }
    for (const endpoint_ptr& reader : std::exchange(unheard_, {})) {
        if (reader->unreported) send_report(reader);
    }
}

void world::heal() {
    luck.heal();
    clogged_.clear();
    if (cut_.empty() && parted_.empty()) return;
    cut_.clear();
    parted_.clear();
    carry_on();
}

void world::crash(const std::string& host) {
    for (const auto& each : std::vector(sockets_)) {
        const endpoint_ptr socket = each.lock();
        if (socket && socket->at == state::connected && socket->local.host() == host) {
            reset_both(socket);
        }
    }
}

// ---- names

int world::look_up(io::resolve_op& request) const {
    const auto known = names_.find(request.host);
    std::vector<std::string> hosts;
    if (request.host.empty()) {
        const bool passive = request.flags & AI_PASSIVE;
        hosts = passive ? std::vector<std::string>{"0.0.0.0", "::"}
                        : std::vector<std::string>{"::1", "127.0.0.1"};
    } else if (known != names_.end() && !(request.flags & AI_NUMERICHOST)) {
        hosts = known->second;
    } else if (address::from_ip(request.host, 0)) {
        hosts = {request.host};
    }
    unsigned port = 0;
    const std::string& service = request.service;
    if (!service.empty() &&
        (std::from_chars(service.data(), service.data() + service.size(), port).ec != std::errc() ||
         port > 65535)) {
        return EAI_SERVICE;
    }
    for (const std::string& host : hosts) {
        const auto found = address::from_ip(host, static_cast<std::uint16_t>(port));
        if (!found) continue;
        if (request.family != AF_UNSPEC && request.family != found->family()) continue;
        io::resolved answer;
        answer.length = found->length();
        std::memcpy(&answer.storage, found->raw(), found->length());
        request.answers.push_back(answer);
    }
    return request.answers.empty() ? EAI_NONAME : 0;
}

// ---- the trace

void world::note(std::uint64_t what) noexcept {
    trace_ = scramble(trace_ ^ what) + 0x9e3779b97f4a7c15;
}

}  // namespace ouro::testing::sim
