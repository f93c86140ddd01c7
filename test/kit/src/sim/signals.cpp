// Signals of a simulated process.
#include <algorithm>
#include <cerrno>
#include <csignal>

#include <ouro/runtime/signals.hpp>

#include "process_signals.hpp"
#include "world.hpp"

namespace ouro::testing::sim {

using ouro::detail::signal_bit;

int world::watch_signals(int fd, std::uint64_t mask) {
    if (mask && fd < 0) {
        if (luck.strikes(fault_kind::no_descriptor)) return -EMFILE;
        endpoint_ptr made = make(AF_UNSPEC, SOCK_DGRAM);
        fd = publish(made);
        if (fd < 0) return fd;
        signals_ = std::move(made);
    }
    watched_signals_ = mask;
    if (!signals_) return fd;
    // What came, and is watched no longer before anybody looked, acts now.
    std::vector<int> act;
    std::erase_if(signals_->datagrams, [&](const datagram& each) {
        const int signum = std::to_integer<int>(each.bytes[0]);
        if (mask & signal_bit(signum)) return false;
        act.push_back(signum);
        return true;
    });
    if (!mask) signals_.reset();
    for (const int signum : act) act_by_default(signum);
    return fd;
}

int world::take_signal(int fd) {
    std::byte signum{};
    const std::int64_t taken = receive(find(fd), {&signum, 1});
    return taken == 1 ? std::to_integer<int>(signum) : -EAGAIN;
}

void world::raise(int signum) {
    note(static_cast<std::uint64_t>(signum));
    if (!(watched_signals_ & signal_bit(signum))) return act_by_default(signum);
    const auto same = [&](const datagram& each) {
        return std::to_integer<int>(each.bytes[0]) == signum;
    };
    auto& waiting = signals_->datagrams;
    const bool queues = signum >= SIGRTMIN;
    if (!queues && std::any_of(waiting.begin(), waiting.end(), same)) return;
    // The lowest number is read first.
    const auto place = std::find_if(waiting.begin(), waiting.end(), [&](const datagram& each) {
        return std::to_integer<int>(each.bytes[0]) > signum;
    });
    waiting.insert(place, {{}, {static_cast<std::byte>(signum)}});
    changed(signals_);
}

void world::act_by_default(int signum) {
    if (signum == SIGCHLD || signum == SIGCONT || signum == SIGURG || signum == SIGWINCH) return;
    violations.push_back(signal_name(signum) + " came and nobody handled it: the program would " +
                         "have ended");
}

}  // namespace ouro::testing::sim
