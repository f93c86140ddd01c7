// Parties that are coroutines: on a reader and a writer, and on a raw socket.
#include "party.hpp"

namespace ouro::simulated {
namespace {

struct stream_ends {
    stream_reader reader;
    stream_writer writer;
};

/// Who asked for an end: not the world, but a cancellation or the own close.
bool own_doing(const error& why) { return why == errc::cancelled; }

// ---- streams

/// One read, cancelled after a while: what it does not give must be there for the next one (rule
/// 620).
task<> read_for_a_while(std::shared_ptr<stream_ends> ends,
                        std::shared_ptr<std::vector<std::byte>> into) {
    auto got = co_await as_result(ends->reader.read_some());
    if (got) into->assign(got->begin(), got->end());
}

/// Leaves in the middle of things, if the time has come.
void leave_stream(const std::shared_ptr<party>& me, const std::shared_ptr<stream_ends>& ends) {
    if (!me->leaves_now() || ends->writer.is_closing()) return;
    if (me->what().how == ending::aborts) {
        me->break_off();
        return ends->writer.transport().abort();
    }
    me->say_end();
    me->leave();
    ends->writer.close();
    me->last_resort = loop::current().call_later(close_patience, [me, ends] {
        me->break_off();
        ends->writer.transport().abort();
    });
}

task<> listen_on_stream(std::shared_ptr<party> me, std::shared_ptr<stream_ends> ends) {
    while (!me->leaves_now()) {
        if (once_in(8)) {
            auto found = std::make_shared<std::vector<std::byte>>();
            auto attempt = spawn(read_for_a_while(ends, found));
            co_await sleep(draw_time(0, 3'000));
            attempt.cancel();
            (void)co_await as_result(attempt.join());
            if (!found->empty()) me->hear(*found);
            continue;
        }
        result<bytes> got;
        // Before the opening is heard no more may be waited for: it may be all there is.
        switch (draw(0, me->knows() ? 2 : 1)) {
        case 0:
            got = co_await as_result(ends->reader.read_some());
            break;
        case 1:
            got =
                co_await as_result(ends->reader.read(static_cast<std::ptrdiff_t>(draw(1, 3'000))));
            break;
        default:
            got = co_await as_result(ends->reader.readexactly(draw(1, 500)));
        }
        if (!got && got.error() == errc::incomplete_read) {
            me->hear(as_bytes(got.error().partial()));
            got = bytes();
        }
        if (!got) {
            if (!own_doing(got.error())) me->hear_error(got.error());
            break;
        }
        if (got->empty()) {
            me->hear_end_of_transport();
            break;
        }
        me->hear(*got);
        if (me->knows() && me->what().pauses && once_in(4)) co_await sleep(draw_time(0, 50'000));
    }
    leave_stream(me, ends);
    me->known.wake_all();
}

task<> speak_on_stream(std::shared_ptr<party> me, std::shared_ptr<stream_ends> ends) {
    if (!me->knows()) co_await me->known.wait();
    while (me->has_more() && !me->leaves_now() && !ends->writer.is_closing()) {
        const auto words = me->next_words();
        if (ends->writer.write(bytes(words))) wrong("a write before write_eof was refused");
        auto drained = co_await as_result(ends->writer.drain());
        if (!drained && own_doing(drained.error())) co_await std::move(drained);
        if (!drained) {
            me->hear_error(drained.error());
            co_return;
        }
        if (me->what().rests && once_in(3)) co_await sleep(draw_time(0, 20'000));
    }
}

}  // namespace

task<> talk_on_streams(std::shared_ptr<party> me, stream_reader reader, stream_writer writer) {
    auto ends = std::make_shared<stream_ends>(std::move(reader), std::move(writer));
    // Small ones, so that writers are paused.
    const auto high = static_cast<std::ptrdiff_t>(draw(0, 4096));
    if (ends->writer.transport().set_write_buffer_limits(high)) wrong("a limit was refused");
    auto listening = spawn(listen_on_stream(me, ends));
    bool cancelled = !co_await as_result(speak_on_stream(me, ends));
    if (!cancelled && me->knows() && !ends->writer.is_closing() && !me->leaves_now()) {
        if (me->what().how == ending::patient) {
            cancelled = !co_await as_result(listening.join());
        }
        if (!cancelled && !me->leaves_now() && !ends->writer.is_closing()) {
            me->say_end();
            (void)ends->writer.write_eof();
            cancelled = !co_await as_result(listening.join());
        }
    }
    if (!cancelled) leave_stream(me, ends);
    if (cancelled || me->leaves_now()) listening.cancel();
    me->say_end();
    if (!ends->writer.is_closing()) me->leave();
    ends->writer.close();
    (void)co_await as_result(listening.join());
    me->last_resort.cancel();
    if (cancelled) co_return;
    me->last_resort = loop::current().call_later(close_patience, [me, ends] {
        me->break_off();
        ends->writer.transport().abort();
    });
    auto closed = co_await as_result(ends->writer.wait_closed());
    me->last_resort.cancel();
    if (closed) {
        me->finish();
    } else if (!own_doing(closed.error())) {
        me->hear_error(closed.error());
    }
}

// ---- sockets

namespace {

/// One operation on a socket with what it came to, for a task that is cancelled.
struct socket_attempt {
    std::vector<std::byte> memory{};
    result<std::size_t> outcome = errc::invalid_state;
    bool begun = false;
};

task<> receive_for_a_while(std::shared_ptr<socket> on, std::shared_ptr<socket_attempt> what) {
    if (*on) what->outcome = co_await as_result(on->recv_into(what->memory));
}
/// Whatever comes of it, the account of what was written is right again before the socket can be
/// closed.
task<> send_words(std::shared_ptr<party> me, std::shared_ptr<socket> on,
                  std::shared_ptr<socket_attempt> what) {
    what->begun = true;
    if (*on) what->outcome = co_await as_result(on->send(what->memory));
    const std::size_t taken = what->outcome.value_or(0);
    me->took_back(what->memory.size() - taken, taken);
}

/// Leaves in the middle of things, if the time has come.
void leave_socket(const std::shared_ptr<party>& me, const std::shared_ptr<socket>& own) {
    if (!me->leaves_now() || !*own) return;
    if (me->what().how == ending::aborts) {
        me->break_off();
        constexpr linger at_once{1, 0};
        // It fails only when the connection is dead already.
        (void)own->set_option(SOL_SOCKET, SO_LINGER, std::as_bytes(std::span(&at_once, 1)));
    }
    me->say_end();
    me->leave();
    own->close();
}

task<> listen_on_socket(std::shared_ptr<party> me, std::shared_ptr<socket> own) {
    while (!me->leaves_now() && *own) {
        auto what = std::make_shared<socket_attempt>();
        what->memory.resize(draw(1, once_in(2) ? 100 : 5'000));
        bool asked_to_end = false;
        if (once_in(6)) {
            auto attempt = spawn(receive_for_a_while(own, what));
            co_await sleep(draw_time(0, 3'000));
            asked_to_end = attempt.cancel();
            (void)co_await as_result(attempt.join());
        } else {
            what->outcome = co_await as_result(own->recv_into(what->memory));
        }
        if (!what->outcome) {
            const bool by_us = own_doing(what->outcome.error());
            if (what->outcome.error() == errc::invalid_state || (by_us && asked_to_end)) continue;
            if (!by_us) me->hear_error(what->outcome.error());
            break;
        }
        if (*what->outcome == 0) {
            me->hear_end();
            break;
        }
        me->hear(bytes(what->memory).first(*what->outcome));
        if (me->knows() && me->what().pauses && once_in(4)) co_await sleep(draw_time(0, 50'000));
    }
    leave_socket(me, own);
    me->known.wake_all();
}

task<> speak_on_socket(std::shared_ptr<party> me, std::shared_ptr<socket> own) {
    if (!me->knows()) co_await me->known.wait();
    while (me->has_more() && !me->leaves_now() && *own) {
        auto what = std::make_shared<socket_attempt>();
        what->memory = me->next_words();
        bool asked_to_end = false;
        bool cancelled = false;
        if (once_in(6)) {
            auto attempt = spawn(send_words(me, own, what));
            cancelled = !co_await as_result(sleep(draw_time(0, 3'000)));
            asked_to_end = attempt.cancel();
            (void)co_await as_result(attempt.join());
        } else {
            co_await send_words(me, own, what);
        }
        if (!what->begun) me->took_back(what->memory.size(), 0);
        if (cancelled) co_await result<>(error(errc::cancelled));
        if (!what->outcome) {
            const error& why = what->outcome.error();
            const bool by_us = own_doing(why);
            if (why == errc::invalid_state || (by_us && asked_to_end)) continue;
            if (by_us) co_await result<>(error(errc::cancelled));
            me->hear_error(why);
            co_return;
        }
        if (me->what().rests && once_in(3)) co_await sleep(draw_time(0, 20'000));
    }
}

}  // namespace

task<> talk_on_socket(std::shared_ptr<party> me, socket own) {
    auto shared = std::make_shared<socket>(std::move(own));
    auto listening = spawn(listen_on_socket(me, shared));
    bool cancelled = !co_await as_result(speak_on_socket(me, shared));
    if (!cancelled && me->knows() && !me->leaves_now()) {
        if (me->what().how == ending::patient) {
            cancelled = !co_await as_result(listening.join());
        }
        if (!cancelled && !me->leaves_now()) {
            me->say_end();
            // It fails only when the connection is dead, which reading tells.
            if (!shared->shutdown_write()) me->break_off();
            cancelled = !co_await as_result(listening.join());
        }
    }
    if (!cancelled) leave_socket(me, shared);
    me->leave();
    me->say_end();
    shared->close();
    (void)co_await as_result(listening.join());
    if (!cancelled) me->finish();
}

}  // namespace ouro::simulated
