// Checks of what protocols do to a transport: they are replaced, they throw, they close and abort
// it in each callback.
#include <stdexcept>

#include <ouro/runtime/spawn.hpp>

#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

kind other(kind than) { return than == kind::streaming ? kind::buffered : kind::streaming; }

task<> set_protocol_is_quiet(bench& on) {
    co_await on.connect();
    const auto first = on.left;
    on.replace_left(on.receiver);
    on.expect(on.near->get_protocol() == on.left->as_protocol(),
              "get_protocol gives what set_protocol set", "another one");
    co_await on.linger();
    const std::string text = random_text(5000);
    on.far->write(text);
    co_await on.until_received(*on.left, text);
    on.far->close();
    co_await on.until_both_lost();
    on.expect(first->story == "made", "a replaced protocol hears nothing more", first->story);
    on.expect(on.left->story == "(set) data eof lost",
              "the new protocol hears of data, end of stream and loss", on.left->story);
}

/// Replaces the protocol by one of another kind again and again while data flows.
task<> switch_under_load(bench& on, bool in_callback) {
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes / 4);
    std::string all;
    std::vector<std::shared_ptr<probe>> former;  // a callback of theirs may be running
    kind of = on.receiver;
    int calls = 0;
    std::function<void()> take;
    const hook_scope hooks{on};
    const auto switch_now = [&] {
        of = other(of);
        former.push_back(on.left);
        former.back()->forget_hooks();
        on.replace_left(of);
        on.left->at(moment::data) = take;
    };
    take = [&] {
        all += std::exchange(on.left->data, {});
        if (in_callback && ++calls % 3 == 0) switch_now();
    };
    on.left->at(moment::data) = take;
    for (std::size_t at = 0; at < sent.size(); at += 10'000) {
        on.far->write(std::string_view(sent).substr(at, 10'000));
        if (!in_callback) switch_now();
        co_await yield();
    }
    co_await on.until([&] { return all.size() >= sent.size(); },
                      "the protocols receive all bytes together");
    on.expect(all == sent, "not a byte is lost, doubled or moved when the protocol is replaced",
              std::to_string(all.size()) + " of " + std::to_string(sent.size()) + " bytes");
    on.expect(former.size() > 3, "the protocol is replaced again and again",
              std::to_string(former.size()) + " times");
}

task<> held_data_goes_to_the_new_one(bench& on, bool to_other_kind) {
    co_await on.connect();
    const std::string first = random_text(2000, 1), second = random_text(20'000, 2);
    const auto before = on.left;
    on.near->pause_reading();
    on.far->write(first);
    co_await on.linger();
    on.replace_left(to_other_kind ? other(on.receiver) : on.receiver);
    on.far->write(second);
    co_await on.linger();
    on.expect(on.left->datas == 0 && before->datas == 0,
              "set_protocol does not end a pause of reading");
    on.near->resume_reading();
    co_await on.until_received(*on.left, first + second);
    on.expect(before->datas == 0, "held data goes to the new protocol", before->story);
}

// ---- protocols that throw

void throw_boom() { throw std::runtime_error("boom"); }

bool is_boom(const error& why) {
    try {
        if (why.exception()) std::rethrow_exception(why.exception());
    } catch (const std::runtime_error& thrown) {
        return thrown.what() == std::string_view("boom");
    } catch (...) {
        return false;
    }
    return false;
}

task<> failing_made(bench& on) {
    on.left->at(moment::made) = throw_boom;
    co_await on.connect();
    on.expect_failures(1, "connection_made throws");
    on.expect(!on.near->is_closing(), "the connection stays open");
    on.far->write("delivered");
    co_await on.until_received(*on.left, "delivered");
    on.near->write("answered");
    co_await on.until_received(*on.right, "answered");
}

/// `when` is one that ends the connection with the exception as the reason.
task<> failing_fatally(bench& on, moment when) {
    on.left->at(when) = throw_boom;
    co_await on.connect();
    // Memory may be asked for at once, or when there is something to put there.
    if (when == moment::data || when == moment::get_buffer) on.far->write("too much to bear");
    if (when == moment::eof) on.far->close();
    co_await on.until_both_lost();
    on.expect_failures(1, std::string(moment_names[std::size_t(when)]) + " throws");
    on.expect(is_boom(on.left->why), "connection_lost gets the exception as its reason",
              on.left->why ? on.left->why.message() : "no error");
    on.expect(on.left->datas == (when == moment::data), "nothing comes after the failed callback");
}

task<> failing_lost(bench& on) {
    on.left->at(moment::lost) = throw_boom;
    co_await on.connect();
    on.near->close();
    co_await on.until_both_lost();
    co_await on.linger();
    on.expect_failures(1, "connection_lost throws");
    on.expect(!on.near->get_protocol(), "the transport is lost all the same");
}

task<> empty_buffer(bench& on) {
    on.left->room_bytes = 0;
    co_await on.connect();
    on.far->write("nowhere to go");
    co_await on.until_both_lost();
    on.expect(on.left->why == errc::empty_buffer,
              "connection_lost tells that get_buffer gave no memory",
              on.left->why ? on.left->why.message() : "no error");
    on.expect_failures(1, "get_buffer gives no memory");
}

task<> failing_pause_and_resume(bench& on) {
    on.left->at(moment::pause) = on.left->at(moment::resume) = throw_boom;
    co_await on.connect();
    const std::string sent = co_await on.fill();
    on.expect_failures(1, "pause_writing throws");
    on.expect(!on.near->is_closing(), "the connection stays open");
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent);
    co_await on.until([&] { return on.left->resumes == 1; }, "resume_writing comes");
    on.expect_failures(1, "resume_writing throws");
    on.expect(!on.near->is_closing(), "the connection stays open");
}

// ---- protocols that end the connection

enum class ending : std::uint8_t { close, abort };

/// Writes until the near end is paused, then lets the far end read.
///
/// Result  what was written.
task<std::string> write_until_paused(bench& on) {
    std::string sent;
    on.far->pause_reading();
    while (on.left->pauses == 0 && sent.size() < on.options.pressure_bytes) {
        const std::string piece = random_text(256 * 1024, sent.size() + 1);
        on.near->write(piece);
        sent += piece;
        if (!on.left->pauses) co_await yield();
    }
    on.far->resume_reading();
    co_return sent;
}

task<> ended_inside(bench& on, moment when, ending how) {
    on.left->at(when) = [&on, how] {
        how == ending::close ? on.left->link->close() : on.left->link->abort();
    };
    co_await on.connect();
    std::string sent;
    if (when == moment::data || when == moment::get_buffer) {
        on.far->write(random_text(on.options.large_bytes / 4));
    }
    if (when == moment::eof) on.far->close();
    if (when == moment::lost) on.near->close();
    if (when == moment::pause || when == moment::resume) sent = co_await write_until_paused(on);
    co_await on.until_both_lost();
    on.expect_no_error(*on.left);
    on.expect(on.left->datas == (when == moment::data), "no data comes once it is closing");
    if (when == moment::made) on.expect(on.left->story == "made lost", "reading never starts");
    if (when == moment::pause && how == ending::close) {
        on.expect_received(*on.right, sent);
        on.expect(on.left->resumes == 1, "resume_writing comes once while it flushes");
    }
    if (when == moment::pause && how == ending::abort) {
        on.expect(on.left->resumes == 0, "an aborted transport does not resume the protocol");
    }
}

const char* rules_of(moment when) {
    switch (when) {
    case moment::made:
        return "359";
    case moment::data:
        return "307";
    case moment::pause:
        return "744, 745";
    case moment::resume:
        return "282";
    default:
        return "263, 354, 357";
    }
}

std::vector<stream_check> make_table() {
    std::vector<stream_check> table = {
        // rule 288
        {"set_protocol calls nothing", "288", needs_nothing, set_protocol_is_quiet},
        // rules 289, 727
        {"replacing the protocol loses no byte", "289, 727", needs_buffered,
         [](bench& on) { return switch_under_load(on, false); }},
        {"replacing the protocol inside a data callback loses no byte", "289", needs_buffered,
         [](bench& on) { return switch_under_load(on, true); }},
        // rules 720, 728
        {"held data goes to the new protocol", "720, 728", needs_nothing,
         [](bench& on) { return held_data_goes_to_the_new_one(on, false); }},
        {"held data goes to a new protocol of the other kind", "727, 728", needs_buffered,
         [](bench& on) { return held_data_goes_to_the_new_one(on, true); }},
        // rule 309
        {"connection_made throws", "309", needs_nothing, failing_made},
        // rules 300, 304, 314, 316, 317, 360
        {"a data callback throws", "300, 316, 360", needs_nothing,
         [](bench& on) { return failing_fatally(on, moment::data); }},
        {"eof_received throws", "304, 317, 360", needs_nothing,
         [](bench& on) { return failing_fatally(on, moment::eof); }},
        {"get_buffer throws", "314, 360", needs_buffered,
         [](bench& on) { return failing_fatally(on, moment::get_buffer); }},
        // rule 310
        {"connection_lost throws", "310", needs_nothing, failing_lost},
        // rule 315
        {"get_buffer gives no memory", "315", needs_buffered, empty_buffer},
        {"pause_writing and resume_writing throw", "80", needs_pressure, failing_pause_and_resume},
    };
    // rules 263, 282, 307, 354, 357, 359, 744, 745
    for (std::size_t i = 0; i < moment_count; ++i) {
        const auto when = static_cast<moment>(i);
        unsigned needs = needs_nothing;
        if (when == moment::get_buffer) needs = needs_buffered;
        if (when == moment::pause || when == moment::resume) needs = needs_pressure;
        for (const ending how : {ending::close, ending::abort}) {
            const char* const what = how == ending::close ? "close" : "abort";
            table.push_back({what + std::string(" inside ") + std::string(moment_names[i]),
                             rules_of(when), needs,
                             [when, how](bench& on) { return ended_inside(on, when, how); }});
        }
    }
    return table;
}

}  // namespace

std::span<const stream_check> protocol_checks() {
    static const std::vector<stream_check> table = make_table();
    return table;
}

}  // namespace ouro::testing::detail
