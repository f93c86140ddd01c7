// Descriptors of others: each is watched by one poll at a time, which starts again after each call.
#include <ouro/net/readiness.hpp>

#include <poll.h>

#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>

#include <ouro/runtime/context.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {
namespace detail {
namespace {

// After the kernel had no memory for a poll.
constexpr auto retry_after = std::chrono::milliseconds(5);

std::string name_of(int fd, std::uint32_t events) {
    return "fd " + std::to_string(fd) + (events == POLLIN ? " is readable" : " is writable");
}

/// One reader or writer. Lives on after its end until the kernel has let go of it.
class watch final : op, timer_node {
  public:
    watch(loop& home, int fd, std::uint32_t events, callback what)
        : op(&watch::ready), home_(home), fd_(fd), events_(events), what_(std::move(what)) {
        fire = [](timer_node& due) noexcept { static_cast<watch&>(due).arm(); };
    }
    void begin() noexcept { arm(); }
    /// Calls nothing any more.
    void end() noexcept {
        ended_ = true;
        const callback dropped = std::move(what_);  // may have the last word on other watches
        if (queued()) remove_timer(home_, *this);
        if (in_flight) return io::cancel(home_, *this);
        if (!calling_) delete this;
    }

  private:
    static void ready(op& done) noexcept;
    void arm() noexcept { io::poll(home_, *this, fd_, events_); }
    void arm_later() noexcept;
    void call() noexcept;
    void fail(int number) noexcept;

    loop& home_;
    const int fd_;
    const std::uint32_t events_;
    callback what_;
    context values_ = context::current();  // what it is called with
    bool calling_ = false;
    bool ended_ = false;
};

}  // namespace

/// The watches of a loop; there is none while nothing is watched.
struct watch_table : loop_resource {
    explicit watch_table(loop& of) noexcept : home(of) {
        shut = [](loop_resource& self) noexcept { static_cast<watch_table&>(self).end_all(); };
        add_resource(home, *this);
        watches_of(home) = this;
    }
    ~watch_table() {
        watches_of(home) = nullptr;
        remove_resource(home, *this);
    }
    std::unordered_map<int, watch*>& with(std::uint32_t events) noexcept {
        return events == POLLIN ? readers : writers;
    }
    void drop_if_empty() noexcept {
        if (readers.empty() && writers.empty()) delete this;
    }
    void end_all() noexcept;

    loop& home;
    std::unordered_map<int, watch*> readers;
    std::unordered_map<int, watch*> writers;
};

namespace {

result<> add(loop& home, int fd, std::uint32_t events, callback what);
bool remove(loop& home, int fd, std::uint32_t events) noexcept;

void watch::ready(op& done) noexcept {
    watch& self = static_cast<watch&>(done);
    if (self.ended_) {  // found ready, and removed before it was told
        delete &self;
    } else if (done.res < 0) {
        self.fail(-done.res);
    } else {
        self.call();
    }
}

void watch::arm_later() noexcept {
    try {
        when = home_.deadline_after(retry_after);
        add_timer(home_, *this);
    } catch (const std::bad_alloc&) {
        arm();
    }
}

void watch::call() noexcept {
    calling_ = true;
    callback what = std::move(what_);  // it may remove or replace itself
    {
        const context::use in(values_);
        try {
            what();
        } catch (...) {
            home_.call_exception_handler(
                {.message = words("what was to be called for a descriptor threw"),
                 .error = error::from_exception(std::current_exception()),
                 .subject = words([&] { return name_of(fd_, events_); })});
        }
    }
    calling_ = false;
    if (ended_) {
        delete this;
        return;
    }
    what_ = std::move(what);
    arm();
}

/// The kernel does not watch it: there is no memory, the loop closes, or it was closed by others.
void watch::fail(int number) noexcept {
    if (number == ENOMEM) return arm_later();
    if (number != ECANCELED) {
        home_.call_exception_handler({.message = words("a descriptor cannot be watched any more"),
                                      .error = error::from_errno(number),
                                      .subject = words([&] { return name_of(fd_, events_); })});
    }
    remove(home_, fd_, events_);
}

result<> may_watch(loop& home, int fd, std::uint32_t events) {
    const auto refused = [&](std::error_code code, const char* why) {
        return error(code, words([&] { return "wait until " + name_of(fd, events) + why; }));
    };
    if (home.is_closed()) return refused(errc::loop_closed, "");
    if (fd < 0) return refused(errc::value_error, "");
    if (io::is_claimed(home, fd)) return refused(errc::invalid_state, ", which a transport owns");
    // Whatever it is, it has an answer; but for one that is not open.
    const auto kind = io::get_option(home, fd, SOL_SOCKET, SO_TYPE);
    if (!kind && kind.error() == std::errc::bad_file_descriptor) {
        return refused(kind.error().code(), "");
    }
    return {};
}

result<> add(loop& home, int fd, std::uint32_t events, callback what) {
    if (auto allowed = may_watch(home, fd, events); !allowed) return allowed;
    if (!what) return error(errc::value_error, "call nothing when a descriptor is ready");
    auto made = std::make_unique<watch>(home, fd, events, std::move(what));
    watch_table*& slot = watches_of(home);
    watch_table& table = slot ? *slot : *new watch_table(home);
    watch* before = nullptr;
    try {
        before = std::exchange(table.with(events)[fd], made.get());
    } catch (...) {
        table.drop_if_empty();
        throw;
    }
    made.release()->begin();
    if (before) before->end();
    return {};
}

bool remove(loop& home, int fd, std::uint32_t events) noexcept {
    watch_table* const table = watches_of(home);
    if (!table) return false;
    auto& watches = table->with(events);
    const auto found = watches.find(fd);
    if (found == watches.end()) return false;
    watch* const removed = found->second;
    watches.erase(found);
    table->drop_if_empty();
    removed->end();
    return true;
}

// ---- awaits

extern const wait_kind readable_kind;
extern const wait_kind writable_kind;

/// One poll.
class [[nodiscard]] poll_wait : public op_awaitable<poll_wait, void> {
  public:
    poll_wait(loop& home, int fd, std::uint32_t events) noexcept
        : op_awaitable(home, events == POLLIN ? readable_kind : writable_kind),
          fd_(fd),
          events_(events) {}
    void submit(loop& home, op& request) noexcept { io::poll(home, request, fd_, events_); }
    void value() const noexcept {}
    std::string doing() const { return "wait until " + name_of(fd_, events_); }
    static std::string describe(const wait_point& wait) {
        return "fd " + std::to_string(static_cast<const poll_wait&>(wait).fd_);
    }

  private:
    int fd_;
    std::uint32_t events_;
};
constexpr wait_kind readable_kind{"readable", &poll_wait::cancel_op, nullptr, &poll_wait::describe};
constexpr wait_kind writable_kind{"writable", &poll_wait::cancel_op, nullptr, &poll_wait::describe};

task<> wait_until_ready(int fd, std::uint32_t events) {
    loop& home = loop::current();
    co_await may_watch(home, fd, events);
    co_await poll_wait(home, fd, events);
}

}  // namespace

void watch_table::end_all() noexcept {
    while (!readers.empty() || !writers.empty()) {
        const std::uint32_t events = readers.empty() ? POLLOUT : POLLIN;
        const bool last = readers.size() + writers.size() == 1;
        remove(home, with(events).begin()->first, events);
        if (last) return;  // and this is gone, unless what was dropped has watched again
    }
}

}  // namespace detail

result<> add_reader(loop& home, int fd, callback what) {
    return detail::add(home, fd, POLLIN, std::move(what));
}
result<> add_reader(int fd, callback what) {
    return add_reader(loop::current(), fd, std::move(what));
}
result<> add_writer(loop& home, int fd, callback what) {
    return detail::add(home, fd, POLLOUT, std::move(what));
}
result<> add_writer(int fd, callback what) {
    return add_writer(loop::current(), fd, std::move(what));
}
bool remove_reader(loop& home, int fd) noexcept { return detail::remove(home, fd, POLLIN); }
bool remove_reader(int fd) noexcept { return remove_reader(loop::current(), fd); }
bool remove_writer(loop& home, int fd) noexcept { return detail::remove(home, fd, POLLOUT); }
bool remove_writer(int fd) noexcept { return remove_writer(loop::current(), fd); }

task<> readable(int fd) { return detail::wait_until_ready(fd, POLLIN); }
task<> writable(int fd) { return detail::wait_until_ready(fd, POLLOUT); }

}  // namespace ouro
