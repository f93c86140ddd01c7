// Checks of reading: data in order, pauses, the end of stream, protocols with buffers of their own.
#include <algorithm>
#include <iterator>

#include <ouro/runtime/spawn.hpp>

#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

// The most that comes with one data callback (rule 293).
constexpr std::size_t most_delivered_bytes = 256 * 1024;

task<> sizes_arrive(bench& on) {
    co_await on.connect();
    constexpr std::size_t sizes[] = {1,    2,    0,    3,      7,      255,    1024,
                                     4095, 4096, 4097, 16'383, 16'384, 65'535, 65'537};
    for (const bool to_right : {true, false}) {
        transport& from = to_right ? *on.near : *on.far;
        std::string sent;
        for (const std::size_t size : sizes) {
            const std::string piece = random_text(size, size + 1);
            from.write(piece);
            sent += piece;
        }
        co_await on.until_received(to_right ? *on.right : *on.left, sent);
    }
}

/// Bytes go back and forth one at a time.
task<> ping_pong(bench& on) {
    constexpr int rounds = 200;
    on.right->at(moment::data) = [&on] { on.right->link->write(on.right->data.substr(0, 1)); };
    co_await on.connect();
    for (int round = 1; round <= rounds; ++round) {
        on.near->write("x");
        co_await on.until([&] { return on.left->data.size() >= std::size_t(round); },
                          "each byte comes back");
    }
    on.expect(on.left->data == std::string(rounds, 'x'), "each byte comes back once");
}

task<> large_both_ways(bench& on) {
    co_await on.connect();
    const std::string to_right = random_text(on.options.large_bytes, 1);
    const std::string to_left = random_text(on.options.large_bytes + 1, 2);
    on.near->write(to_right);
    on.far->write(to_left);
    co_await on.until_received(*on.right, to_right);
    co_await on.until_received(*on.left, to_left);
    on.expect(on.left->most_bytes <= most_delivered_bytes &&
                  on.right->most_bytes <= most_delivered_bytes,
              "no data callback gets more than 262144 bytes",
              std::to_string(std::max(on.left->most_bytes, on.right->most_bytes)));
}

// ---- pausing

task<> pause_stops_data(bench& on) {
    co_await on.connect();
    const std::string text = random_text(10'000);
    on.near->pause_reading();
    on.expect(!on.near->is_reading(), "a paused transport does not read");
    on.far->write(text);
    co_await on.linger();
    on.expect(on.left->datas == 0, "no data comes while reading is paused");
    on.near->resume_reading();
    on.expect(on.near->is_reading(), "a resumed transport reads");
    on.expect(on.left->datas == 0, "resume_reading delivers nothing from inside its own call");
    co_await on.until_received(*on.left, text);
}

task<> pausing_twice(bench& on) {
    co_await on.connect();
    on.near->resume_reading();
    on.near->pause_reading();
    on.near->pause_reading();
    on.far->write("held");
    co_await on.linger();
    on.expect(on.left->datas == 0, "no data comes while reading is paused");
    on.near->resume_reading();
    on.near->resume_reading();
    co_await on.until_received(*on.left, "held");
    co_await on.linger();
    on.expect_received(*on.left, "held");
}

task<> paused_from_the_start(bench& on) {
    on.left->at(moment::made) = [&on] { on.left->link->pause_reading(); };
    co_await on.connect();
    on.far->write("early");
    co_await on.linger();
    on.expect(on.left->datas == 0, "reading does not start when connection_made paused it");
    on.near->resume_reading();
    co_await on.until_received(*on.left, "early");
}

task<> paused_in_each_data_callback(bench& on) {
    co_await on.connect();
    on.left->at(moment::data) = [&on] { on.left->link->pause_reading(); };
    const std::string sent = random_text(50'000);
    on.far->write(sent);
    for (int before = 0; on.left->data.size() < sent.size(); before = on.left->datas) {
        co_await on.until([&] { return on.left->datas > before; }, "data comes after a resume");
        for (int turn = 0; turn < 5; ++turn) co_await yield();
        on.expect(on.left->datas == before + 1, "no data comes after a pause inside its callback");
        on.near->resume_reading();
    }
    on.expect_received(*on.left, sent);
}

task<> pausing_in_a_hurry(bench& on) {
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes);
    on.far->write(sent);
    for (int turn = 0; turn < 300; ++turn) {
        on.near->pause_reading();
        if (turn % 3 == 0) co_await yield();
        on.near->resume_reading();
        if (turn % 2 == 0) co_await yield();
    }
    co_await on.until_received(*on.left, sent);
}

// ---- the end of stream

task<> data_then_eof(bench& on) {
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes);
    on.far->write(sent);
    on.far->close();
    co_await on.until_both_lost();
    on.expect_received(*on.left, sent);
    on.expect(on.left->story == "made data eof lost", "the end of stream comes after all data");
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

task<> pause_holds_eof(bench& on) {
    co_await on.connect();
    const std::string sent = random_text(3000);
    on.near->pause_reading();
    on.far->write(sent);
    on.far->close();
    co_await on.linger();
    on.expect(on.left->story == "made", "no data and no end of stream come while paused");
    on.near->resume_reading();
    co_await on.until_both_lost();
    on.expect_received(*on.left, sent);
    on.expect(on.left->story == "made data eof lost", "what was held comes in order");
}

task<> pause_holds_eof_alone(bench& on) {
    co_await on.connect();
    on.near->pause_reading();
    on.far->close();
    co_await on.linger();
    on.expect(on.left->story == "made", "no end of stream comes while paused");
    on.near->resume_reading();
    on.expect(on.left->eofs == 0, "resume_reading delivers nothing from inside its own call");
    co_await on.until_both_lost();
    on.expect(on.left->story == "made eof lost", "the end of stream comes after the pause");
}

/// What was held comes, its data callback pauses again, and the end of stream must wait once more.
task<> pause_holds_eof_again(bench& on) {
    co_await on.connect();
    const std::string sent = random_text(20'000);
    on.near->pause_reading();
    on.far->write(sent);
    on.options.write_eof ? (void)on.far->write_eof() : on.far->close();
    co_await on.linger();
    on.left->at(moment::data) = [&on] { on.left->link->pause_reading(); };
    on.near->resume_reading();
    while (on.left->data.size() < sent.size()) {
        const int before = on.left->datas;
        co_await on.until([&] { return on.left->datas > before; }, "data comes after a resume");
        co_await on.linger();
        on.expect(on.left->story == "made data", "no end of stream comes while paused");
        on.near->resume_reading();
    }
    on.expect_received(*on.left, sent);
    co_await on.until_both_lost();
}

task<> eof_closes(bench& on) {
    co_await on.connect();
    const std::string sent = co_await on.fill();
    on.far->write_eof();
    co_await on.until([&] { return on.left->eofs == 1; }, "eof_received comes");
    on.expect(on.near->is_closing(), "eof_received that answers false closes the transport");
    on.far->resume_reading();
    co_await on.until_both_lost();
    on.expect_received(*on.right, sent);
    on.expect_no_error(*on.left);
}

task<> eof_keeps_open(bench& on) {
    on.left->stays_open = true;
    co_await on.connect();
    on.far->write_eof();
    co_await on.until([&] { return on.left->eofs == 1; }, "eof_received comes");
    co_await on.linger();
    on.expect(!on.near->is_closing() && !on.left->lost(),
              "eof_received that answers true keeps the connection");
    on.expect(on.near->is_reading(), "is_reading stays true after the end of stream");
    on.near->pause_reading();
    on.near->resume_reading();
    co_await on.linger();
    on.expect(on.left->eofs == 1, "a pause does not bring the end of stream again");
    const std::string sent = random_text(10'000);
    on.near->write(sent);
    co_await on.until_received(*on.right, sent);
    on.near->close();
    co_await on.until_both_lost();
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

task<> answer_to_eof(bench& on) {
    on.left->at(moment::eof) = [&on] { on.left->link->write("goodbye"); };
    co_await on.connect();
    on.far->write_eof();
    co_await on.until_both_lost();
    on.expect_received(*on.right, "goodbye");
}

// ---- input of a closing transport

task<> close_inside_data_stops_it(bench& on) {
    on.left->at(moment::data) = [&on] { on.left->link->close(); };
    co_await on.connect();
    on.far->write(random_text(on.options.large_bytes / 4));
    co_await on.until_both_lost();
    on.expect(on.left->datas == 1, "no data comes after close",
              std::to_string(on.left->datas) + " callbacks");
    on.expect(on.left->eofs == 0, "no end of stream comes after close");
}

task<> input_of_a_closing_one(bench& on) {
    co_await on.connect();
    co_await on.fill();
    on.near->close();
    on.expect(!on.near->is_reading(), "a closing transport does not read");
    on.far->write("too late");
    co_await on.linger();
    on.expect(on.left->datas == 0, "input after close is discarded");
    on.far->resume_reading();
    co_await on.until_both_lost();
    on.expect(on.left->datas == 0, "input after close is discarded");
}

/// What arrives in the same turn as the close, before or after it.
task<> input_beside_close(bench& on, std::size_t size) {
    co_await on.connect();
    on.far->write(random_text(size));
    on.near->close();
    co_await on.until_both_lost();
    on.expect(on.left->story == "made lost", "input after close is discarded");
}

/// Data comes to both ends at once; whoever hears of it first closes the other.
task<> closed_by_the_other(bench& on) {
    on.left->at(moment::data) = [&on] { on.far->close(); };
    on.right->at(moment::data) = [&on] { on.near->close(); };
    co_await on.connect();
    on.near->write(random_text(100));
    on.far->write(random_text(100));
    co_await on.until_both_lost();
    on.expect(on.left->datas + on.right->datas == 1,
              "close stops data that arrived in the same turn");
}

task<> ended_while_paused(bench& on) {
    co_await on.connect();
    on.near->pause_reading();
    on.far->write("never seen");
    co_await on.linger();
    on.near->close();
    on.near->resume_reading();
    co_await on.until_both_lost();
    on.expect(on.left->story == "made lost", "held data of a closed transport is discarded");
    on.expect_no_error(*on.left);
}

// ---- buffered protocols

task<> small_buffer(bench& on, std::size_t room_bytes, std::size_t size) {
    on.left->room_bytes = room_bytes;
    co_await on.connect();
    const std::string sent = random_text(size);
    on.far->write(sent);
    on.far->close();
    co_await on.until_both_lost();
    on.expect_received(*on.left, sent);
    on.expect(on.left->most_bytes <= room_bytes, "no more comes than fits");
}

task<> changing_buffers(bench& on) {
    on.left->at(moment::get_buffer) = [&on] {
        constexpr std::size_t sizes[] = {1, 4096, 3, 60'000, 17, 512};
        on.left->room_bytes = sizes[std::size_t(on.left->datas) % std::size(sizes)];
    };
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes / 2);
    on.far->write(sent);
    co_await on.until_received(*on.left, sent);
}

}  // namespace

std::span<const stream_check> reading_checks() {
    static const stream_check table[] = {
        // rules 293, 324
        {"data of any size arrives in order", "293, 324", needs_nothing, sizes_arrive},
        {"single bytes go back and forth", "293, 323", needs_nothing, ping_pong},
        // rules 293, 321
        {"large data arrives in both directions at once", "293, 321", needs_nothing,
         large_both_ways},
        // rules 297-299, 720
        {"pause_reading stops data", "297, 298, 299, 720", needs_nothing, pause_stops_data},
        // rule 296
        {"pause_reading and resume_reading are idempotent", "296", needs_nothing, pausing_twice},
        // rule 268
        {"a pause inside connection_made holds", "268", needs_nothing, paused_from_the_start},
        // rules 297, 735
        {"a pause inside a data callback holds", "297, 735", needs_nothing,
         paused_in_each_data_callback},
        // rules 720, 722
        {"pausing and resuming while data comes loses nothing", "720, 722", needs_nothing,
         pausing_in_a_hurry},
        // rules 265, 302, 306, 360
        {"the end of stream comes after all data", "265, 302, 306, 360", needs_nothing,
         data_then_eof},
        // rules 297, 721
        {"pause_reading holds the end of stream", "297, 721", needs_nothing, pause_holds_eof},
        {"pause_reading holds an end of stream without data", "297, 298, 721", needs_nothing,
         pause_holds_eof_alone},
        {"a pause inside a data callback holds the end of stream", "297, 721", needs_nothing,
         pause_holds_eof_again},
        // rules 302, 317
        {"eof_received that answers false closes after flushing", "302, 317",
         needs_write_eof | needs_pressure, eof_closes},
        // rules 265, 299, 303, 317
        {"eof_received that answers true keeps the connection", "265, 299, 303, 317",
         needs_write_eof, eof_keeps_open},
        {"what eof_received writes is sent", "302", needs_write_eof, answer_to_eof},
        // rule 307
        {"close inside data stops delivery", "307, 308", needs_nothing, close_inside_data_stops_it},
        // rules 308, 349, 723
        {"input of a closing transport is discarded", "308, 349, 723", needs_pressure,
         input_of_a_closing_one},
        {"input beside a close is discarded", "308, 723", needs_nothing,
         [](bench& on) { return input_beside_close(on, 100); }},
        {"large input beside a close is discarded", "308, 723", needs_nothing,
         [](bench& on) { return input_beside_close(on, 20'000); }},
        // rule 739
        {"close stops data of the same turn", "307, 739", needs_nothing, closed_by_the_other},
        {"held input of a closed transport is discarded", "308, 349", needs_nothing,
         ended_while_paused},
        // rules 312, 318, 320, 321
        {"a buffer of one byte receives everything", "312, 318, 320", needs_buffered,
         [](bench& on) { return small_buffer(on, 1, 2000); }},
        {"a buffer of 100 bytes receives everything", "312, 320, 321", needs_buffered,
         [](bench& on) { return small_buffer(on, 100, 100'000); }},
        {"buffers of changing sizes receive everything", "311, 312, 320", needs_buffered,
         changing_buffers},
    };
    return table;
}

}  // namespace ouro::testing::detail
