// The signals of the process: which of them a loop has caught, and threads that want none.
#pragma once

#include <csignal>
#include <cstdint>

namespace ouro::detail {

/// `number` in a mask of signals.
constexpr std::uint64_t signal_bit(int number) noexcept { return std::uint64_t{1} << (number - 1); }
inline constexpr int last_signal = 64;

/// While it lives, this thread gets no signals; nor do the threads it starts, for all their life.
class signals_blocked {
  public:
    signals_blocked() noexcept;
    ~signals_blocked();
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace ouro::detail
