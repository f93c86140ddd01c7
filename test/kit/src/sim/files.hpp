// Files in a simulation: they are those of the machine, read in simulated time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include <ouro/runtime/io.hpp>

#include "endpoint.hpp"

namespace ouro::testing::sim {

/// What is in the carriers. Counts as in the kernel: negative ones are errno.
class files {
  public:
    int open(io::carrier& into, std::size_t wanted_bytes);
    void close(const io::carrier& used) { carried_.erase(used.in); }
    std::size_t carriers() const noexcept { return carried_.size(); }
    std::int64_t fetch(const io::carrier& into, int file, std::uint64_t offset, std::size_t count);
    /// How many bytes a carrier takes before it is full.
    std::size_t room(const io::carrier& into) const;
    void put(const io::carrier& into, std::span<const std::byte> more);
    /// The first bytes inside, `most` of them at most.
    std::span<const std::byte> front(const io::carrier& from, std::size_t most) const;
    void drop(const io::carrier& from, std::size_t count);
    std::int64_t take(const io::carrier& from, std::span<std::byte> into);
    static std::int64_t read_at(int file, std::uint64_t offset, std::span<std::byte> into);

  private:
    std::map<int, byte_vector> carried_;  // by the carrier's number
    int next_ = 1 << 28;                  // far above any descriptor
};

}  // namespace ouro::testing::sim
