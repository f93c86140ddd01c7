// Queues: who waits, and who is told.
#include <ouro/runtime/queue.hpp>

#include <system_error>

namespace ouro {
namespace {

error shut_down_error() noexcept { return error(errc::queue_shut_down, "use of a queue"); }

}  // namespace

// ---- items

void queue_base::added() noexcept {
    ++item_count_;
    ++unfinished_count_;
    getters_.grant();
}

void queue_base::taken() noexcept {
    --item_count_;
    putters_.grant();
    fail_if_drained();
}

void queue_base::dropped_all() noexcept {
    const std::size_t dropped = std::exchange(item_count_, 0);
    getters_.fail_granted(shut_down_error());
    fail_if_drained();
    done(std::min(dropped, unfinished_count_));
}

error queue_base::put_refusal() const noexcept {
    if (shut_down_) return error(errc::queue_shut_down, "put into queue");
    if (full()) return error(errc::queue_full, "put into queue");
    return {};
}

error queue_base::get_refusal() const noexcept {
    if (!empty()) return {};
    return error(drained() ? errc::queue_shut_down : errc::queue_empty, "get from queue");
}

// ---- the end

void queue_base::shutdown() noexcept {
    shut_down_ = true;
    putters_.fail_granted(shut_down_error());
    putters_.fail_waiting(shut_down_error());
    fail_if_drained();
}

/// Items that waiting getters were told of may come back until they have run: others wait for that.
void queue_base::fail_if_drained() noexcept {
    if (drained()) getters_.fail_waiting(shut_down_error());
}

void queue_base::task_done() {
    if (unfinished_count_ == 0) {
        throw std::system_error(make_error_code(errc::value_error),
                                "task_done called more often than items were put");
    }
    done(1);
}

void queue_base::done(std::size_t count) noexcept {
    unfinished_count_ -= count;
    if (unfinished_count_ == 0) joiners_.wake_all();
}

// ---- waits

namespace detail {

constexpr wait_kind queue_get_base::kind{"get from queue", &line_wait::cancelled,
                                         &queue_get_base::revoke, &queue_get_base::describe};

void queue_get_base::start() noexcept {
    if (of_->drained()) return wake_failed(of_->get_refusal());
    if (of_->bond_.admits(*this)) of_->getters_.push(*this);
}

void queue_get_base::revoke(wait_point& wait) noexcept {
    auto& self = static_cast<queue_get_base&>(wait);
    self.leave();
    self.of_->getters_.grant();
}

std::string queue_get_base::describe(const wait_point& wait) {
    const auto& self = static_cast<const queue_get_base&>(wait);
    return self.line() ? self.line()->describe(self.of_) : std::string();
}

constexpr wait_kind queue_put_base::kind{"put into queue", &line_wait::cancelled,
                                         &queue_put_base::revoke, &queue_put_base::describe};

void queue_put_base::start() noexcept {
    if (of_->shut_down_) return wake_failed(of_->put_refusal());
    if (!of_->full()) return wake_failed(error(std::errc::not_enough_memory, kind.name));
    if (of_->bond_.admits(*this)) of_->putters_.push(*this);
}

void queue_put_base::revoke(wait_point& wait) noexcept {
    auto& self = static_cast<queue_put_base&>(wait);
    self.leave();
    self.of_->putters_.grant();
}

std::string queue_put_base::describe(const wait_point& wait) {
    const auto& self = static_cast<const queue_put_base&>(wait);
    return self.line() ? self.line()->describe(self.of_) : std::string();
}

constexpr wait_kind queue_join_wait::kind{"join queue", &line_wait::cancelled, nullptr,
                                          &queue_join_wait::describe};

void queue_join_wait::start() noexcept {
    if (of_->bond_.admits(*this)) of_->joiners_.push(*this);
}

std::string queue_join_wait::describe(const wait_point& wait) {
    const auto& self = static_cast<const queue_join_wait&>(wait);
    return self.line() ? self.line()->describe(self.of_) : std::string();
}

}  // namespace detail
}  // namespace ouro
