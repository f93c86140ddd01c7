// Whether a loop that other threads talk to looks out for more from them before it sleeps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/remote.hpp>

#include "engine.hpp"

namespace ouro::detail {

/// To sleep in the kernel and to be woken costs both ends more than to look out for a few
/// microseconds, if something comes within these. Whether it does is learnt by trying. After a look
/// that was in vain the loop sleeps without one, once more than twice as often as after the one
/// before, up to `longest_pause` times; half as often after one that was met soon, if `price` of
/// these in a row have paid for one in vain. So an answer that is on its way is waited for awake,
/// and mail that comes now and then, or in bursts, costs next to nothing.
///
/// A look goes on for longer than that, because the other end may have to be woken first. That is
/// worth nothing unless it stays awake: so a loop that will look out says so with what it leaves,
/// and whoever takes that looks out too, whatever its own looks were worth. `most_late` looks that
/// are met late are what this takes at both ends; one more is as good as in vain.
///
/// Threads  the loop's.
class lookout {
  public:
    static constexpr unsigned longest_pause = 255;
    /// How long a look may take to be worth it, of the longest.
    static constexpr int soon_fraction = 4;
    static constexpr unsigned most_late = 2;
    static constexpr unsigned price = 16;

    explicit lookout(clock::duration limit) noexcept : limit_(limit) {}

    /// Something came from there.
    void mail_came(mail_origin from) noexcept {
        if (from.processor >= 0) from_ = from;
    }
    /// Asked on `processor` before each sleep. True at most once for what came: an idle loop does
    /// not look out. A thread that shares this processor gets on when the loop sleeps, not before.
    bool is_due(int processor) noexcept {
        const mail_origin from = std::exchange(from_, {});
        if (from.processor < 0 || from.processor == processor || !is_on()) return false;
        if (pause_left_ == 0 || from.looks_out) return true;
        --pause_left_;
        return false;
    }
    /// Whether the next is due, because the last one was not in vain.
    bool is_expected() const noexcept { return proven_; }

    /// How long the next look is.
    sight::span span(clock::time_point now, clock::time_point deadline) const noexcept {
        return {now + limit_ / soon_fraction, std::min(deadline, now + limit_)};
    }
    void looked(const sight& seen) noexcept {
        ++looks_;
        const bool was_met = seen.what != sight::nothing;
        met_ += was_met;
        proven_ = was_met && (seen.soon || late_ < most_late);
        if (!proven_) {
            pause_left_ = pause_ = std::min(2 * pause_ + 1, longest_pause);
            late_ = soon_ = 0;
            return;
        }
        pause_left_ = 0;
        if (!seen.soon) {
            ++late_;
            soon_ = 0;
        } else if (++soon_ > price) {
            late_ = 0;
            pause_ /= 2;
        }
    }

    std::uint64_t looks() const noexcept { return looks_; }
    std::uint64_t met() const noexcept { return met_; }

  private:
    bool is_on() const noexcept { return limit_ > clock::duration::zero(); }

    const clock::duration limit_;
    mail_origin from_;
    unsigned pause_ = 0;       // sleeps without a look after the last one
    unsigned pause_left_ = 0;  // of these
    unsigned late_ = 0;        // looks that were met late and not paid for since
    unsigned soon_ = 0;        // looks in a row that were met soon
    bool proven_ = false;      // the last was not in vain
    std::uint64_t looks_ = 0;
    std::uint64_t met_ = 0;
};

}  // namespace ouro::detail
