// Checks of the end: close flushes, abort drops, one direction may end first, either side may go.
#include <ouro/runtime/spawn.hpp>

#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

enum class ending : std::uint8_t { close, abort };

void end(transport& link, ending how) { how == ending::close ? link.close() : link.abort(); }

task<> close_flushes(bench& on) {
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes + 3);
    on.near->write(sent);
    on.near->write("the last word");
    on.near->close();
    on.expect(on.near->is_closing() && !on.near->is_reading(),
              "a closed transport is closing and does not read");
    co_await on.until_both_lost();
    on.expect_received(*on.right, sent + "the last word");
    on.expect(on.right->eofs == 1, "the peer is told of the end of stream");
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

task<> close_waits_for_the_queue(bench& on) {
    co_await on.connect();
    std::string sent = co_await on.fill();
    on.near->close();
    on.expect(on.near->is_closing(), "a flushing transport is closing");
    if (on.options.write_eof) {
        on.expect(!on.near->write_eof(), "write_eof of a closing transport does nothing",
                  "an error");
    }
    on.expect(!on.near->write("a straggler"), "a write while flushing goes along", "an error");
    sent += "a straggler";
    co_await on.linger();
    on.expect(!on.left->lost(), "connection_lost waits until everything is sent");
    on.far->resume_reading();
    co_await on.until_both_lost();
    on.expect_received(*on.right, sent);
    on.expect_no_error(*on.left);
}

task<> close_idle(bench& on) {
    co_await on.connect();
    on.near->close();
    on.expect(on.near->is_closing(), "a closed transport is closing at once");
    on.expect(!on.left->lost(), "connection_lost does not come from inside close");
    co_await on.until_both_lost();
    on.expect(on.left->story == "made lost", "one's own close brings no end of stream");
    on.expect(on.right->story == "made eof lost", "the peer is told of the end of stream");
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

task<> abort_drops(bench& on) {
    co_await on.connect();
    const std::string sent = co_await on.fill();
    on.near->abort();
    on.expect(on.near->is_closing(), "an aborted transport is closing at once");
    on.expect(on.near->get_write_buffer_size() == 0, "abort drops what is queued",
              std::to_string(on.near->get_write_buffer_size()) + " bytes are still queued");
    co_await on.until([&] { return on.left->lost(); },
                      "connection_lost comes although the peer does not read");
    on.expect_no_error(*on.left);
    on.far->resume_reading();
    co_await on.until([&] { return on.right->lost(); }, "the peer sees an end");
    on.expect(on.right->data.size() < sent.size() && sent.starts_with(on.right->data),
              "the peer receives a beginning of what was written",
              std::to_string(on.right->data.size()) + " of " + std::to_string(sent.size()) +
                  " bytes");
}

/// Two ends in a row count as one.
task<> ended_twice(bench& on, ending first, ending second) {
    co_await on.connect();
    end(*on.near, first);
    end(*on.near, second);
    co_await on.until_both_lost();
    end(*on.near, second);
    end(*on.near, first);
    co_await on.linger();
    on.expect(on.left->story == "made lost", "connection_lost comes once");
    on.expect_no_error(*on.left);
}

task<> abort_ends_a_flush(bench& on) {
    co_await on.connect();
    co_await on.fill();
    on.near->close();
    on.near->close();
    co_await on.linger();
    on.expect(!on.left->lost(), "connection_lost waits until everything is sent");
    on.near->abort();
    on.near->abort();
    co_await on.until([&] { return on.left->lost(); }, "abort ends the flush");
    on.expect_no_error(*on.left);
}

task<> simultaneous(bench& on, ending left, ending right) {
    co_await on.connect();
    end(*on.near, left);
    end(*on.far, right);
    co_await on.until_both_lost();
    co_await on.linger();
    on.expect(on.left->story == "made lost" && on.right->story == "made lost",
              "both ends are lost once and hear nothing of the other");
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

/// The peer goes while there is something to write, with what it should have read unread.
task<> peer_goes(bench& on, ending how) {
    co_await on.connect();
    if (on.options.back_pressure) {
        co_await on.fill();
    } else {
        on.far->pause_reading();
        on.near->write(random_text(on.options.large_bytes));
    }
    end(*on.far, how);
    co_await on.until_both_lost();
    co_await on.linger();
    on.expect(on.near->is_closing(), "a transport whose peer is gone is closing");
    on.expect(on.near->get_write_buffer_size() == 0, "nothing stays queued");
}

task<> peer_goes_while_we_write(bench& on) {
    co_await on.connect();
    for (int turn = 0; !on.left->lost() && turn < 2000; ++turn) {
        on.near->write(random_text(5000));
        if (turn == 20) on.far->abort();
        co_await yield();
    }
    co_await on.until_both_lost();
}

// ---- write_eof

task<> half_close(bench& on) {
    on.right->stays_open = true;
    co_await on.connect();
    on.expect(on.near->can_write_eof(), "can_write_eof is true", "it is false");
    const std::string sent = random_text(on.options.large_bytes);
    on.near->write(sent);
    on.expect(!on.near->write_eof(), "write_eof is no error", "an error");
    co_await on.until([&] { return on.right->eofs == 1; }, "the peer gets the end of stream");
    on.expect_received(*on.right, sent);
    on.expect(!on.near->is_closing() && on.near->is_reading(),
              "write_eof does not close, and reading goes on");
    const std::string answer = random_text(on.options.large_bytes, 2);
    on.far->write(answer);
    co_await on.until_received(*on.left, answer);
    on.far->close();
    co_await on.until_both_lost();
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

task<> half_close_waits_for_the_queue(bench& on) {
    on.right->stays_open = true;
    co_await on.connect();
    const std::string sent = co_await on.fill();
    on.near->write_eof();
    on.far->write("answered meanwhile");
    co_await on.until_received(*on.left, "answered meanwhile");
    on.far->resume_reading();
    co_await on.until([&] { return on.right->eofs == 1; }, "the peer gets the end of stream");
    on.expect_received(*on.right, sent);
}

task<> close_after_write_eof(bench& on) {
    co_await on.connect();
    const std::string sent = co_await on.fill();
    on.near->write_eof();
    on.near->close();
    on.far->resume_reading();
    co_await on.until_both_lost();
    on.expect_received(*on.right, sent);
    on.expect(on.right->eofs == 1, "the peer gets the end of stream");
    on.expect_no_error(*on.left);
}

task<> write_eof_twice(bench& on) {
    on.right->stays_open = true;
    co_await on.connect();
    on.near->write("all");
    on.expect(!on.near->write_eof(), "write_eof is no error", "an error");
    on.expect(!on.near->write_eof(), "a second write_eof is no error", "an error");
    co_await on.until([&] { return on.right->eofs == 1; }, "the peer gets the end of stream");
    on.expect(!on.near->write_eof(), "a late write_eof is no error", "an error");
    co_await on.linger();
    on.near->close();
    on.expect(!on.near->write_eof(), "write_eof after close is no error", "an error");
    co_await on.until([&] { return on.left->lost(); }, "connection_lost comes");
}

task<> write_after_eof(bench& on) {
    on.right->stays_open = true;
    co_await on.connect();
    on.near->write_eof();
    const bytes piece = as_bytes("too late");
    const std::error_code refusals[] = {
        on.near->write("too late"), on.near->write(std::vector<std::byte>(5)),
        on.near->writelines(std::span(&piece, 1)), on.near->write(bytes{})};
    for (const std::error_code& each : refusals) {
        on.expect(each == make_error_code(errc::write_after_eof),
                  "a write after write_eof is refused", each.message());
    }
    co_await on.linger();
    on.expect(on.right->data.empty(), "a refused write sends nothing");
    on.expect(!on.near->is_closing(), "a refused write leaves the connection alone");
}

task<> both_write_eof(bench& on) {
    co_await on.connect();
    const std::string to_right = random_text(1000, 1), to_left = random_text(1000, 2);
    on.near->write(to_right);
    on.far->write(to_left);
    on.near->write_eof();
    on.far->write_eof();
    co_await on.until_both_lost();
    on.expect_received(*on.right, to_right);
    on.expect_received(*on.left, to_left);
    on.expect(on.left->eofs == 1 && on.right->eofs == 1, "both get the end of stream");
    on.expect_no_error(*on.left);
    on.expect_no_error(*on.right);
}

task<> ended_after_kept_eof(bench& on, ending how) {
    on.left->stays_open = true;
    co_await on.connect();
    on.far->write_eof();
    co_await on.until([&] { return on.left->eofs == 1; }, "eof_received comes");
    end(*on.near, how);
    co_await on.until_both_lost();
    on.expect(on.left->story == "made eof lost", "connection_lost comes once");
    on.expect_no_error(*on.left);
}

task<> no_half_close(bench& on) {
    co_await on.connect();
    on.expect(!on.near->can_write_eof(), "can_write_eof is false", "it is true");
    const std::error_code refused = on.near->write_eof();
    on.expect(refused == make_error_code(errc::unsupported), "write_eof is refused",
              refused.message());
    on.near->write("still open");
    co_await on.until_received(*on.right, "still open");
}

std::vector<stream_check> write_eof_table() {
    return {
        // rules 344, 347
        {"write_eof ends one direction", "344, 347", needs_write_eof, half_close},
        {"write_eof waits for the queue", "344, 347", needs_write_eof | needs_pressure,
         half_close_waits_for_the_queue},
        // rule 348
        {"close after write_eof flushes", "348", needs_write_eof | needs_pressure,
         close_after_write_eof},
        // rule 345
        {"write_eof is idempotent", "345", needs_write_eof, write_eof_twice},
        // rules 327, 346
        {"a write after write_eof is refused", "327, 346", needs_write_eof, write_after_eof},
        {"both ends write_eof at once", "302, 344", needs_write_eof, both_write_eof},
        // rules 303, 360
        {"close after a kept end of stream", "303, 360", needs_write_eof,
         [](bench& on) { return ended_after_kept_eof(on, ending::close); }},
        {"abort after a kept end of stream", "303, 360", needs_write_eof,
         [](bench& on) { return ended_after_kept_eof(on, ending::abort); }},
        {"write_eof is refused where there is none", "344", needs_no_write_eof, no_half_close},
    };
}

std::vector<stream_check> make_table() {
    std::vector<stream_check> table = {
        // rules 306, 349, 351, 360
        {"close flushes", "306, 349, 351, 360", needs_nothing, close_flushes},
        // rules 345, 351, 352
        {"close waits for the queue", "345, 351, 352", needs_pressure, close_waits_for_the_queue},
        // rules 349, 350
        {"close of an idle transport", "349, 350, 360", needs_nothing, close_idle},
        // rules 355, 726
        {"abort drops what is queued", "355, 726", needs_pressure, abort_drops},
        // rules 356, 733
        {"abort ends a flush", "354, 356, 733", needs_pressure, abort_ends_a_flush},
        // rules 263, 363, 732
        {"the peer closes without reading", "263, 363, 732", needs_nothing,
         [](bench& on) { return peer_goes(on, ending::close); }},
        {"the peer aborts without reading", "263, 363, 732", needs_nothing,
         [](bench& on) { return peer_goes(on, ending::abort); }},
        {"the peer aborts while we write", "338, 363", needs_nothing, peer_goes_while_we_write},
    };
    // rules 354, 357
    constexpr std::pair<ending, const char*> ways[] = {{ending::close, "close"},
                                                       {ending::abort, "abort"}};
    for (const auto& [first, first_name] : ways) {
        for (const auto& [second, second_name] : ways) {
            table.push_back({std::string(second_name) + " after " + first_name + " does nothing",
                             "354, 357", needs_nothing, [first, second](bench& on) {
                                 return ended_twice(on, first, second);
                             }});
            table.push_back({std::string(first_name) + " and " + second_name + " on both ends",
                             "263, 360", needs_nothing, [first, second](bench& on) {
                                 return simultaneous(on, first, second);
                             }});
        }
    }
    for (stream_check& each : write_eof_table()) table.push_back(std::move(each));
    return table;
}

}  // namespace

std::span<const stream_check> ending_checks() {
    static const std::vector<stream_check> table = make_table();
    return table;
}

}  // namespace ouro::testing::detail
