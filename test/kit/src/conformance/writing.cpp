// Checks of writing: all forms of it, in order, from a caller's memory, from inside callbacks.
#include <ouro/runtime/spawn.hpp>

#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

std::vector<std::byte> owned(std::string_view text) {
    const bytes view = as_bytes(text);
    return {view.begin(), view.end()};
}

task<> many_tiny(bench& on) {
    co_await on.connect();
    constexpr std::size_t writes = 20'000;
    std::string sent;
    for (std::size_t i = 0; i < writes; ++i) {
        const std::string piece = random_text(i % 4, i + 1);
        on.near->write(piece);
        sent += piece;
        if (i % 5000 == 4999) co_await yield();
    }
    co_await on.until_received(*on.right, sent);
}

/// Every form of writing, mixed, small and large.
task<> every_form(bench& on) {
    co_await on.connect();
    std::string sent;
    for (std::size_t round = 0; round < 60; ++round) {
        const std::size_t size = round % 7 == 0 ? 20'000 : 10 * round + 1;
        const std::string text = random_text(size, round + 1);
        const std::string_view half = std::string_view(text).substr(0, size / 2);
        const bytes pieces[] = {as_bytes(half), {}, as_bytes(text), {}};
        on.near->write(as_bytes(text));
        on.near->write(owned(text));
        on.near->writelines(pieces);
        on.near->write(half);
        on.near->write(owned(half));
        on.near->write(buffer_lease::copy_of(as_bytes(half)));
        sent += text + text + std::string(half) + text + std::string(half) + std::string(half) +
                std::string(half);
        if (round % 3 == 0) co_await yield();
    }
    co_await on.until_received(*on.right, sent);
}

task<> pieces_in_order(bench& on) {
    co_await on.connect();
    std::vector<std::string> texts;
    std::vector<bytes> pieces;
    std::string sent;
    for (std::size_t i = 0; i < 2000; ++i) texts.push_back(random_text(i % 50, i + 1));
    for (const std::string& text : texts) {
        pieces.push_back(as_bytes(text));
        sent += text;
    }
    on.near->writelines(pieces);
    co_await on.until_received(*on.right, sent);
}

task<> nothing_written(bench& on) {
    co_await on.connect();
    const bytes none[] = {bytes{}, bytes{}};
    on.expect(!on.near->write(bytes{}), "an empty write is no error", "an error");
    on.expect(!on.near->write(std::vector<std::byte>{}), "an empty write is no error", "an error");
    on.expect(!on.near->writelines({}), "writelines of nothing is no error", "an error");
    on.expect(!on.near->writelines(none), "writelines of empty pieces is no error", "an error");
    on.expect(on.near->get_write_buffer_size() == 0, "an empty write queues nothing");
    co_await on.linger();
    on.expect(on.right->datas == 0, "an empty write sends nothing");
    on.near->write("something");
    on.near->write(bytes{});
    on.near->writelines(none);
    on.near->close();
    co_await on.until_both_lost();
    on.expect_received(*on.right, "something");
}

task<> nothing_written_behind_a_queue(bench& on) {
    co_await on.connect();
    const std::string sent = co_await on.fill();
    const std::size_t queued = on.near->get_write_buffer_size();
    const bytes none[] = {bytes{}, bytes{}};
    on.near->write(bytes{});
    on.near->write(std::vector<std::byte>{});
    on.near->writelines(none);
    on.expect(on.near->get_write_buffer_size() == queued, "empty writes are not counted");
    on.near->close();
    on.far->resume_reading();
    co_await on.until_both_lost();
    on.expect_received(*on.right, sent);
}

/// What a caller does with its memory after a write is its own business.
task<> memory_is_copied(bench& on) {
    co_await on.connect();
    std::string sent;
    for (const std::size_t size : {1U, 100U, 5000U, 16'384U, 300'000U}) {
        const std::string text = random_text(size, size);
        std::string memory = text;
        const bytes halves[] = {as_bytes(memory).first(size / 2),
                                as_bytes(memory).subspan(size / 2)};
        on.near->write(as_bytes(memory));
        on.near->writelines(halves);
        on.expect(memory == text, "a write leaves the memory of its caller alone",
                  "it was changed");
        memory.assign(size, '!');
        sent += text + text;
        co_await yield();
        memory.assign(size, '?');
        for (int turn = 0; turn < 3; ++turn) co_await yield();
    }
    co_await on.until_received(*on.right, sent);
}

task<> size_is_counted(bench& on) {
    co_await on.connect();
    std::string sent = co_await on.fill();
    const std::size_t before = on.near->get_write_buffer_size();
    const std::string text = random_text(1000);
    const bytes pieces[] = {as_bytes(text), as_bytes(text)};
    on.near->write(text);
    on.near->write(owned(text));
    on.near->writelines(pieces);
    sent += text + text + text + text;
    on.expect(on.near->get_write_buffer_size() == before + 4 * text.size(),
              "get_write_buffer_size counts every byte that is queued",
              std::to_string(before) + " and 4000 more are " +
                  std::to_string(on.near->get_write_buffer_size()));
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent);
    co_await on.until([&] { return on.near->get_write_buffer_size() == 0; },
                      "get_write_buffer_size returns to 0");
}

task<> size_returns_to_zero(bench& on) {
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes);
    on.near->write(sent);
    on.expect(on.near->get_write_buffer_size() <= sent.size(), "no more is queued than was written",
              std::to_string(on.near->get_write_buffer_size()));
    co_await on.until_received(*on.right, sent);
    co_await on.until([&] { return on.near->get_write_buffer_size() == 0; },
                      "get_write_buffer_size returns to 0");
}

// ---- from inside callbacks

task<> echo(bench& on) {
    on.right->at(moment::data) = [&on] {
        const std::string received = std::exchange(on.right->data, {});
        on.right->link->write(received);
    };
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes);
    on.near->write(sent);
    co_await on.until_received(*on.left, sent);
}

task<> write_inside_made(bench& on) {
    on.left->at(moment::made) = [&on] { on.left->link->write("hello from the left"); };
    on.right->at(moment::made) = [&on] { on.right->link->write("hello from the right"); };
    co_await on.connect();
    co_await on.until_received(*on.right, "hello from the left");
    co_await on.until_received(*on.left, "hello from the right");
}

task<> write_inside_lost(bench& on) {
    on.left->at(moment::lost) = [&on] { on.left->link->write("too late"); };
    co_await on.connect();
    on.near->write("in time");
    on.near->close();
    co_await on.until_both_lost();
    on.expect_received(*on.right, "in time");
}

// ---- writes that go nowhere

task<> write_after_close(bench& on) {
    co_await on.connect();
    on.near->close();
    const bytes piece = as_bytes("too late");
    on.expect(!on.near->write("too late"), "a write after close is dropped silently", "an error");
    on.expect(!on.near->write(owned("too late")), "a write after close is dropped silently",
              "an error");
    on.expect(!on.near->writelines(std::span(&piece, 1)),
              "writelines after close is dropped silently", "an error");
    co_await on.until_both_lost();
    on.expect(on.right->data.empty(), "a write after close sends nothing");
    on.expect_no_error(*on.left);
}

task<> dropped_writes_are_remarked(bench& on) {
    co_await on.connect();
    on.near->close();
    co_await on.until_both_lost();
    for (std::size_t i = 1; i <= 7; ++i) {
        on.near->write("too late");
        const std::size_t due = i < 5 ? 0 : i - 4;
        on.expect(on.reports.size() == due,
                  "there is a warning for each dropped write from the fifth on",
                  std::to_string(on.reports.size()) + " warnings after " + std::to_string(i));
    }
    for (const failure_report& each : on.reports) {
        on.expect(each.level == severity::warning, "a dropped write is a warning", each.message);
    }
}

}  // namespace

std::span<const stream_check> writing_checks() {
    static const stream_check table[] = {
        // rules 324, 342
        {"many tiny writes arrive in order", "324, 342", needs_nothing, many_tiny},
        // rules 324, 331, 333, 334
        {"every form of writing keeps the order", "324, 331, 333, 334", needs_nothing, every_form},
        // rules 331, 334, 336, 337
        {"writelines keeps the order of many pieces", "331, 334, 336, 337", needs_nothing,
         pieces_in_order},
        // rules 326, 333, 334
        {"empty writes do nothing", "326, 333, 334", needs_nothing, nothing_written},
        {"empty writes behind a queue do nothing", "326, 334", needs_pressure,
         nothing_written_behind_a_queue},
        // rule 329
        {"a write copies the memory of its caller", "329", needs_nothing, memory_is_copied},
        // rules 341, 729
        {"the queued size counts every byte", "341, 729", needs_pressure, size_is_counted},
        {"the queued size returns to 0", "341", needs_nothing, size_returns_to_zero},
        {"data is echoed from inside its callback", "324", needs_nothing, echo},
        {"writes inside connection_made are sent", "262", needs_nothing, write_inside_made},
        // rule 340
        {"a write inside connection_lost is dropped", "340", needs_nothing, write_inside_lost},
        // rule 339
        {"writes after close are dropped", "339", needs_nothing, write_after_close},
        {"dropped writes are remarked on from the fifth on", "339", runs_once,
         dropped_writes_are_remarked},
    };
    return table;
}

}  // namespace ouro::testing::detail
