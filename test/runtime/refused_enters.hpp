// A kernel that refuses what it is handed: io_uring_enter(2) fails so many times.
#pragma once

namespace ouro::test {

/// The next `count` calls of io_uring_enter(2) on this thread fail with `failure`, an errno, and
/// take nothing. One at a time; its end lets all calls through again.
class refused_enters {
  public:
    refused_enters(unsigned count, int failure) noexcept;
    ~refused_enters();
    refused_enters(const refused_enters&) = delete;
    refused_enters& operator=(const refused_enters&) = delete;
    /// How many are still to fail.
    unsigned left() const noexcept;
};

}  // namespace ouro::test
