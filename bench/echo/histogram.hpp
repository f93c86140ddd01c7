// Latencies in log-sized buckets: 1.6 % resolution from 1 ns to minutes, recorded in place.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class histogram {
  public:
    void record(std::uint64_t nanoseconds) noexcept {
        ++counts_[bucket_of(nanoseconds)];
        ++total_;
    }

    void clear() noexcept {
        counts_.fill(0);
        total_ = 0;
    }

    /// The upper end, in ns, of the bucket that holds the `fraction` quantile; 0 if empty.
    std::uint64_t quantile(double fraction) const noexcept {
        const auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::size_t bucket = 0; bucket != counts_.size(); ++bucket) {
            seen += counts_[bucket];
            if (seen > wanted || (seen == total_ && total_ != 0)) return upper_end(bucket);
        }
        return 0;
    }

  private:
    static constexpr unsigned precision_bits = 6;  // 64 buckets per power of two

    static std::size_t bucket_of(std::uint64_t value) noexcept {
        const auto width = static_cast<unsigned>(std::bit_width(value));
        if (width <= precision_bits) return value;
        const unsigned shift = width - precision_bits - 1;
        const std::size_t bucket = (std::size_t{shift} << precision_bits) + (value >> shift);
        return std::min(bucket, bucket_count - 1);
    }

    static std::uint64_t upper_end(std::size_t bucket) noexcept {
        if (bucket < (std::size_t{2} << precision_bits)) return bucket;
        const std::size_t shift = (bucket >> precision_bits) - 1;
        return ((bucket - (shift << precision_bits) + 1) << shift) - 1;
    }

    static constexpr std::size_t bucket_count = std::size_t{36} << precision_bits;
    std::array<std::uint64_t, bucket_count> counts_{};
    std::uint64_t total_ = 0;
};

}  // namespace bench
