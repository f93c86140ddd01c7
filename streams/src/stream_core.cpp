// Streams: the protocol between a transport and the coroutines that read and write.
#include "stream_core.hpp"

#include <algorithm>
#include <string_view>
#include <system_error>

#include <ouro/proto/pipe.hpp>

namespace ouro::detail {
namespace {

constexpr wait_kind closed_kind{"wait_closed", &closed_wait::leave, nullptr,
                                &closed_wait::describe};

/// Those of a read `until` or `until_any`.
std::span<const std::string_view> separators_of(const read_request& request) noexcept {
    if (request.what == read_request::kind::until) return {&request.text.separator, 1};
    return request.text.separators;
}

/// "fd 7, peer 10.0.0.1:80".
std::string describe_link(const transport* link) {
    if (!link) return {};
    if (const auto* file = link->get_extra_info<const pipe_view*>("pipe")) {
        return "fd " + std::to_string(file->fd());
    }
    const auto* view = link->get_extra_info<const socket_view*>("socket");
    if (!view) return {};
    return describe_socket(view->fd(), link->get_extra_info<address>("peername"));
}

}  // namespace

constinit const wait_kind read_wait_base::read_kind{"read", &cancelled, nullptr, &describe};
constinit const wait_kind drain_wait::drain_kind{"drain", &leave, nullptr, &describe};

std::size_t stream_core::checked_limit(std::size_t limit_bytes) {
    if (limit_bytes == 0) {
        throw std::system_error(make_error_code(errc::value_error), "a stream limit of 0 bytes");
    }
    return limit_bytes;
}

stream_core::~stream_core() {
    if (!waiting_) return;
    waiting_->claims_ = false;
    waiting_->core_ = nullptr;
}

// ---- from the transport

void stream_core::connection_made(std::shared_ptr<transport> link) {
    link_ = std::move(link);
    if (handler_) serve();
}

void stream_core::serve() {
    served_ = shared_from_this();
    try {
        const auto started = spawn((*handler_)(stream_reader(served_), stream_writer(served_)));
        client_ = &started.state();
        client_->on_done(*this);
    } catch (...) {
        const auto keep = std::move(served_);
        handler_failed(loop::current(), error::from_exception(std::current_exception()));
    }
}

/// The handler has ended.
void stream_core::task_done() noexcept {
    const auto keep = std::move(served_);
    task_core& client = *std::exchange(client_, nullptr);
    if (client.state() == outcome::threw) {
        handler_failed(client.home(), error::from_exception(client.thrown_seen()));
    } else if (client.state() == outcome::failed) {
        handler_failed(client.home(), client.failure_seen());
    }
}

void stream_core::handler_failed(loop& home, error why) noexcept {
    link_->close();
    if (why == errc::cancelled) return;  // rule 646
    home.call_exception_handler({.message = words("the handler of a client failed"),
                                 .error = std::move(why),
                                 .subject = words("stream server"),
                                 .created = {}});
}

mut_bytes stream_core::get_buffer(std::ptrdiff_t hint) {
    if (reader_gone_) buffer_.discard();
    return hint > 0 ? buffer_.room_for(static_cast<std::size_t>(hint)) : buffer_.room();
}

void stream_core::buffer_updated(std::size_t count) {
    buffer_.filled(count);
    if (reader_gone_) return buffer_.discard();
    wake_reader();
    // Rule 621; a read that waits for more than that has to get it (rule 623).
    if (buffer_.size() > 2 * limit_ && !waiting_ && !read_paused_ && link_) {
        read_paused_ = true;
        link_->pause_reading();
    }
}

bool stream_core::eof_received() {
    feed_eof();
    return true;  // the user may go on writing (rule 639)
}

void stream_core::connection_lost(error why) {
    lost_ = true;
    broken_ = static_cast<bool>(why);
    if (broken_) {
        failure_ = std::move(why);
    } else {
        eof_ = true;
    }
    wake_reader();
    end_closing_drains();
    while (writer_wait* each = writer_waits_.pop_front()) {
        broken_ ? each->wake_failed(failure_) : each->wake();
    }
}

void stream_core::resume_writing() {
    write_paused_ = false;
    while (writer_wait* each = next_waiting(writer_wait::until::room)) each->wake();
}

// ---- reading

void stream_core::feed(bytes data) {
    OURO_ASSERT(!eof_, "feed_data after feed_eof");
    OURO_ASSERT(!link_, "feed_data on the reader of a connection, which the kernel feeds");
    if (data.empty()) return;
    const auto keep = shared_from_this();  // the task that is woken may let go of the reader
    const mut_bytes room = buffer_.room_for(data.size());
    std::copy(data.begin(), data.end(), room.begin());
    buffer_updated(data.size());
}

void stream_core::feed_eof() noexcept {
    eof_ = true;
    wake_reader();
}

void stream_core::set_failure(error why) noexcept {
    if (broken_) return;  // what broke the connection is what its waiters are told
    failure_ = std::move(why);
    wake_reader();
}

void stream_core::reader_gone() noexcept {
    reader_gone_ = true;
    buffer_.discard();
    buffer_.release_view();
    if (closes_with_reader_ && link_) return link_->close();
    if (read_paused_ && link_) link_->resume_reading();
}

/// The waiting read, if it has what it wants now. It keeps its claim until it takes the data, so
/// that no other read can come in between.
void stream_core::wake_reader() noexcept {
    if (!waiting_ || waiting_->woken_) return;
    if (waiting_->request_.what == read_request::kind::some && !failure_) {
        waiting_->woken_ = true;
        return waiting_->complete_or_wake();
    }
    error why;
    const verdict now = look(*waiting_, why);
    if (now == verdict::waits) return;
    waiting_->woken_ = true;
    if (now == verdict::ready) return waiting_->complete_or_wake();
    read_wait_base& failing = *waiting_;
    stop_waiting(failing);
    fail_read(failing, std::move(why));
}

/// Tells a read that it failed; what it consumed by that is dropped (rules 602, 608, 614).
void stream_core::fail_read(read_wait_base& read, error why) noexcept {
    if (why == errc::incomplete_read) {
        buffer_.discard();
    } else if (why == errc::value_error && read.request_.line) {
        match found{};
        if (find(read.request_, 0, found)) {
            (void)buffer_.take(found.end);
            buffer_.release_view();
        } else {
            buffer_.discard();
        }
        consumed();
    }
    read.wake_failed(std::move(why));
}

/// What a read would meet now. Changes nothing but what the read knows.
stream_core::verdict stream_core::look(read_wait_base& read, error& why) noexcept {
    if (failure_) {
        why = failure_;
        return verdict::fails;
    }
    const read_request& request = read.request_;
    switch (request.what) {
    case read_request::kind::some:
        return request.count == 0 || !buffer_.empty() || eof_ ? verdict::ready : verdict::waits;
    case read_request::kind::all:
        return eof_ ? verdict::ready : verdict::waits;
    case read_request::kind::exactly:
        if (buffer_.size() >= request.count) return verdict::ready;
        if (!eof_) return verdict::waits;
        why = cut_short(
            words([&] { return "read exactly " + std::to_string(request.count) + " bytes"; }),
            request.count);
        return verdict::fails;
    case read_request::kind::until:
    case read_request::kind::until_any:
        return look_until(read, why);
    }
    return verdict::waits;
}

stream_core::verdict stream_core::look_until(read_wait_base& read, error& why) noexcept {
    const read_request& request = read.request_;
    const auto separators = separators_of(request);
    constexpr auto by_size = [](auto left, auto right) { return left.size() < right.size(); };
    const auto [shortest, longest] = std::ranges::minmax_element(separators, by_size);
    if (shortest == separators.end() || shortest->empty()) {
        why = error(errc::value_error, "read until an empty separator");
        return verdict::fails;
    }
    match found{};
    if (find(request, read.searched_, found)) {
        if (found.start > limit_) return overrun(read, found.start, why);
        return verdict::ready;
    }
    const std::size_t size = buffer_.size();
    read.searched_ = size + 1 > longest->size() ? size + 1 - longest->size() : 0;
    if (read.searched_ > limit_) return overrun(read, read.searched_, why);
    if (!eof_) return verdict::waits;
    if (request.line) return verdict::ready;  // the rest, or nothing
    why = cut_short("read until a separator", 0);
    return verdict::fails;
}

/// The error of a read that met the end before it had all, with what it had.
error stream_core::cut_short(words doing, std::size_t wanted) const noexcept {
    error why(errc::incomplete_read, std::move(doing));
    why.with_data(words([&] { return std::string(as_text(buffer_.unread())); }), wanted);
    return why;
}

/// The match that ends first, at or after `from` (rule 606).
bool stream_core::find(const read_request& request, std::size_t from, match& found) const noexcept {
    const std::string_view text = as_text(buffer_.unread());
    bool any = false;
    for (const std::string_view separator : separators_of(request)) {
        const auto at = text.find(separator, from);
        if (at == text.npos) continue;
        const std::size_t end = at + separator.size();
        if (!any || end < found.end) found = {at, end};
        any = true;
    }
    return any;
}

/// No separator within the limit: the data is kept, except that readline skips the line (rules 610,
/// 611, 614).
stream_core::verdict stream_core::overrun(const read_wait_base& read, std::size_t count,
                                          error& why) noexcept {
    if (read.request_.line) {
        why = error(errc::value_error, words([&] {
                        return "read a line (longer than the limit of " + std::to_string(limit_) +
                               " bytes)";
                    }));
    } else {
        why = error(errc::limit_overrun, "read until a separator").with_data({}, count);
    }
    return verdict::fails;
}

std::size_t stream_core::ready_count(read_wait_base& read) noexcept {
    const read_request& request = read.request_;
    match found{};
    switch (request.what) {
    case read_request::kind::some:
    case read_request::kind::exactly:
        return request.count;
    case read_request::kind::until:
    case read_request::kind::until_any:
        if (find(request, 0, found)) return found.end;
        return buffer_.size();
    case read_request::kind::all:
        break;
    }
    return buffer_.size();
}

bytes stream_core::take(read_wait_base& read) noexcept {
    stop_waiting(read);
    const bool some = read.request_.what == read_request::kind::some;  // mostly
    const std::size_t count = some ? read.request_.count : ready_count(read);
    const bytes view = buffer_.take(std::min(count, buffer_.size()));
    if (read_paused_) consumed();
    return view;
}

/// After reading: a paused transport goes on once the buffer is down to the limit (rule 622).
[[gnu::cold]] void stream_core::consumed() noexcept {
    if (!read_paused_ || buffer_.size() > limit_) return;
    read_paused_ = false;
    if (link_) link_->resume_reading();
}

void stream_core::wait(read_wait_base& read) noexcept {
    waiting_ = &read;
    read.claims_ = true;
    if (!read_paused_) return;
    read_paused_ = false;  // a read beyond the limit must not wait for itself (rule 623)
    if (link_) link_->resume_reading();
}

void stream_core::stop_waiting(read_wait_base& read) noexcept {
    if (std::exchange(read.claims_, false)) waiting_ = nullptr;
}

bool read_wait_base::await_ready() noexcept {
    if (core_->reading() || core_->failure()) return false;
    core_->release_view();
    if (request_.what == read_request::kind::some) {
        must_wait_ = !core_->has_some(request_.count);
        return !must_wait_;
    }
    return look_before();
}

/// Whether a read that wants more than some bytes has what it wants.
[[gnu::noinline]] bool read_wait_base::look_before() noexcept {
    error why;
    const auto now = core_->look(*this, why);
    must_wait_ = now == stream_core::verdict::waits;
    // Failures take the way through the suspension, which ends the task.
    return now == stream_core::verdict::ready;
}

void read_wait_base::start() noexcept { must_wait_ ? core_->wait(*this) : start_otherwise(); }

[[gnu::noinline]] void read_wait_base::start_otherwise() noexcept {
    if (core_->reading()) {
        return wake_failed(error(errc::already_waiting, "read from a stream"));
    }
    error why;
    if (core_->look(*this, why) == stream_core::verdict::fails) {
        return core_->fail_read(*this, std::move(why));
    }
    core_->wait(*this);
    core_->wake_reader();
}

void read_wait_base::let_go() noexcept { core_->stop_waiting(*this); }

bytes read_wait_base::take() noexcept {
    return core_ ? core_->take(*this) : bytes();  // null: woken, and the stream died first
}

std::string read_wait_base::describe(const wait_point& wait) {
    const auto& self = static_cast<const read_wait_base&>(wait);
    return self.core_ ? describe_link(self.core_->link()) : std::string();
}

void read_wait_base::cancelled(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<read_wait_base&>(wait);
    if (self.claims_) self.core_->stop_waiting(self);
    self.wake_failed(error::cancelled(cause, "read"));
}

// ---- writing

bool stream_core::may_write() const noexcept {
    return !failure_ && !lost_ && !write_paused_ && !link_->is_closing();
}

void stream_core::drain(drain_wait& waiter) noexcept {
    if (failure_) return waiter.wake_failed(failure_);
    if (lost_) return waiter.wake_failed(error(std::errc::connection_reset, "drain"));
    if (!link_->is_closing()) {
        return write_paused_ ? writer_waits_.push_back(waiter) : waiter.wake();
    }
    waiter.what_ = writer_wait::until::turn;
    writer_waits_.push_back(waiter);
    try {
        loop::current().call_soon([self = shared_from_this()] { self->end_closing_drains(); });
    } catch (...) {  // the loop is closing as well, or there is no memory: no turn to wait for
        end_closing_drains();
    }
}

/// The one that has waited longest for that, which is not in the list any more.
writer_wait* stream_core::next_waiting(writer_wait::until what) noexcept {
    writer_wait* each = writer_waits_.front();
    while (each && each->what_ != what) each = writer_waits_.after(*each);
    if (each) each->list_link::unlink();
    return each;
}

void stream_core::end_closing_drains() noexcept {
    while (writer_wait* each = next_waiting(writer_wait::until::turn)) {
        if (lost_) {
            each->wake_failed(broken_ ? failure_ : error(std::errc::connection_reset, "drain"));
        } else if (write_paused_) {
            each->what_ = writer_wait::until::room;
            writer_waits_.push_back(*each);
        } else {
            each->wake();
        }
    }
}

void stream_core::wait_closed(closed_wait& waiter) noexcept {
    if (!lost_) return writer_waits_.push_back(waiter);
    broken_ ? waiter.wake_failed(failure_) : waiter.wake();
}

void stream_core::writer_gone() noexcept {
    if (link_ && !link_->is_closing()) link_->close();
}

bool drain_wait::await_ready() const noexcept { return core_->may_write(); }
void drain_wait::start() noexcept { core_->drain(*this); }
std::string drain_wait::describe(const wait_point& wait) {
    const transport* const link = static_cast<const drain_wait&>(wait).core_->link();
    std::string text = describe_link(link);
    if (!link) return text;
    return text + (text.empty() ? "" : ", ") + std::to_string(link->get_write_buffer_size()) +
           " bytes queued";
}

closed_wait::closed_wait(stream_core& core) noexcept : awaitable(closed_kind, core) {
    what_ = until::the_end;
}
void closed_wait::start() noexcept { core_->wait_closed(*this); }
std::string closed_wait::describe(const wait_point& wait) {
    return describe_link(static_cast<const closed_wait&>(wait).core_->link());
}
void writer_wait::leave(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<writer_wait&>(wait);
    self.list_link::unlink();
    self.wake_failed(error::cancelled(cause, self.kind().name));
}

protocol_factory serving_streams(std::shared_ptr<stream_handler> handler, std::size_t limit_bytes) {
    stream_core::checked_limit(limit_bytes);  // now, and not when a client comes
    return [handler = std::move(handler), limit_bytes]() -> std::shared_ptr<base_protocol> {
        return std::make_shared<stream_core>(limit_bytes, handler);
    };
}

}  // namespace ouro::detail
