// Checks of leases: every byte once and in order to protocols that take them, leases that are kept,
// leases that are written, and changes from each kind of protocol to each other one.
#include <algorithm>

#include <ouro/runtime/spawn.hpp>

#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

buffer_lease lease_of(std::string_view text) { return buffer_lease::copy_of(as_bytes(text)); }

std::string_view name_of(kind of) {
    return of == kind::streaming ? "streaming" : of == kind::buffered ? "buffered" : "lease";
}

// ---- leases that are kept

/// Both ends keep all they get, while more comes, after the end, and without the transport.
task<> kept_leases_stay(bench& on) {
    constexpr std::uint64_t rounds = 4;
    on.left->keeps_leases = on.right->keeps_leases = true;
    co_await on.connect();
    std::string to_left, to_right;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        // Large pieces, and small ones of which many may lie in one buffer.
        const std::size_t size = round % 2 ? 100 : on.options.large_bytes / 8;
        to_left += random_text(size, 2 * round + 1);
        to_right += random_text(size, 2 * round + 2);
        on.far->write(std::string_view(to_left).substr(to_left.size() - size));
        on.near->write(std::string_view(to_right).substr(to_right.size() - size));
        co_await on.until_received(*on.left, to_left);
        co_await on.until_received(*on.right, to_right);
        on.left->expect_leases_unchanged();
        on.right->expect_leases_unchanged();
    }
    on.near->close();
    co_await on.until_both_lost();
    for (const auto& each : {on.left, on.right}) each->link.reset();
    on.near.reset();
    on.far.reset();
    co_await on.linger();
    on.left->expect_leases_unchanged();
    on.right->expect_leases_unchanged();
}

/// Leases go in another order than they came in, and none of the others minds.
task<> dropped_in_any_order(bench& on) {
    constexpr std::size_t most_kept = 5;
    co_await on.connect();
    std::uint64_t chance = 7;
    const hook_scope hooks{on};
    on.left->keeps_leases = true;
    on.left->at(moment::data) = [&] {
        on.left->expect_leases_unchanged();
        while (on.left->kept_leases() > most_kept) {
            chance = chance * 6364136223846793005U + 1442695040888963407U;
            on.left->drop_lease(std::size_t(chance >> 33) % on.left->kept_leases());
        }
    };
    const std::string sent = random_text(on.options.large_bytes);
    for (std::size_t at = 0, size = 1; at < sent.size(); at += size, size = size % 30'000 + 777) {
        on.far->write(std::string_view(sent).substr(at, size));
        co_await yield();
    }
    co_await on.until_received(*on.left, sent);
    on.left->expect_leases_unchanged();
}

// ---- leases that are written

/// They wait behind a full queue, and what was let go of too early is somebody else's by then.
task<> written_leases_keep_their_bytes(bench& on) {
    co_await on.connect();
    std::string sent = co_await on.fill();
    const std::size_t before = on.near->get_write_buffer_size(), filled = sent.size();
    for (std::size_t round = 1; round <= 60; ++round) {
        const std::string text = random_text(round % 9 ? 37 * round : 70'000, round);
        on.near->write(lease_of(text));
        const auto other = lease_of(std::string(text.size(), '!'));
        sent += text;
        if (round % 4 == 0) {
            on.near->write(text);
            sent += text;
        }
    }
    on.expect(on.near->get_write_buffer_size() == before + sent.size() - filled,
              "get_write_buffer_size counts the bytes of leases",
              std::to_string(on.near->get_write_buffer_size()) + " instead of " +
                  std::to_string(before + sent.size() - filled));
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent);
}

/// Parts that stand side by side, or nearly so, or in another order.
task<> parts_of_leases(bench& on) {
    co_await on.connect();
    std::string sent;
    for (std::size_t round = 0; round < 40; ++round) {
        const std::string text = random_text(1000, round + 1);
        const std::size_t cut = 100 + round, gap = round % 4;
        buffer_lease front = lease_of(text), back = front.share();
        front.truncate(cut);
        back.remove_prefix(cut + gap);
        on.near->write(front.share());
        on.near->write(back.share());
        on.near->write(std::move(front));
        on.near->write(buffer_lease());
        sent += text.substr(0, cut) + text.substr(cut + gap) + text.substr(0, cut);
        if (round % 3 == 0) co_await yield();
    }
    co_await on.until_received(*on.right, sent);
}

/// What comes is written back as it is: the bytes lie where they were received.
task<> echo_of_leases(bench& on, bool keeps) {
    on.right->keeps_leases = keeps;
    on.right->at(moment::data) = [&on] { on.right->link->write(std::move(on.right->fresh)); };
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes);
    on.near->write(sent);
    co_await on.until_received(*on.left, sent);
    on.right->expect_leases_unchanged();
}

/// The loop's memory comes back although what was written is not sent any more.
task<> let_go_at_the_end(bench& on) {
    const std::size_t before = loop::current().counters().leases;
    on.left->at(moment::data) = [&on] { on.left->link->write(std::move(on.left->fresh)); };
    co_await on.connect();
    co_await on.fill();
    const std::string text = random_text(20'000);
    on.far->write(text);
    co_await on.until_received(*on.left, text);
    on.near->abort();
    on.far->abort();
    co_await on.until_both_lost();
    const std::size_t left = loop::current().counters().leases;
    on.expect(left <= before, "a lost transport holds no lease",
              std::to_string(left - before) + " more than before");
}

task<> leases_after_the_end(bench& on) {
    co_await on.connect();
    if (on.options.write_eof) {
        on.near->write_eof();
        const std::error_code refused = on.near->write(lease_of("too late"));
        on.expect(refused == make_error_code(errc::write_after_eof),
                  "a lease after write_eof is refused", refused.message());
    }
    on.near->close();
    co_await on.until_both_lost();
    if (!on.options.write_eof) {
        on.expect(!on.near->write(lease_of("too late")), "a lease after close is dropped silently",
                  "an error");
    }
    co_await on.linger();
    on.expect(on.right->data.empty(), "a lease after the end is not sent");
}

// ---- from each kind of protocol to each other one

/// All kinds that are served take turns, in every order, while data comes; leases are kept.
task<> every_change_under_load(bench& on, bool in_callback) {
    std::vector<kind> kinds{kind::leasing, kind::streaming};
    if (on.options.buffered_protocols) {
        // Each kind follows each kind, itself too.
        kinds = {kind::leasing,   kind::streaming, kind::leasing,  kind::buffered, kind::streaming,
                 kind::streaming, kind::buffered,  kind::buffered, kind::leasing,  kind::leasing};
    }
    co_await on.connect();
    const std::string sent = random_text(on.options.large_bytes / 4);
    std::string all;
    std::vector<std::shared_ptr<probe>> former;  // a callback of theirs may be running
    std::size_t changes = 0;
    int calls = 0;
    std::function<void()> take;
    const hook_scope hooks{on};
    const auto change = [&] {
        former.push_back(on.left);
        former.back()->forget_hooks();
        on.replace_left(kinds[++changes % kinds.size()]);
        on.left->keeps_leases = true;
        on.left->at(moment::data) = take;
    };
    take = [&] {
        all += std::exchange(on.left->data, {});
        if (in_callback && ++calls % 2 == 0) change();
    };
    on.left->keeps_leases = true;
    on.left->at(moment::data) = take;
    for (std::size_t at = 0; at < sent.size(); at += 10'000) {
        on.far->write(std::string_view(sent).substr(at, 10'000));
        if (!in_callback) change();
        co_await yield();
    }
    co_await on.until([&] { return all.size() >= sent.size(); },
                      "the protocols receive all bytes together");
    on.expect(all == sent, "not a byte is lost, doubled or moved when the protocol is replaced",
              std::to_string(all.size()) + " of " + std::to_string(sent.size()) + " bytes");
    on.expect(changes > 3, "the protocol is replaced again and again",
              std::to_string(changes) + " times");
    on.left->expect_leases_unchanged();
    for (const auto& each : former) each->expect_leases_unchanged();
}

task<> held_for_another_kind(bench& on, kind from, kind to) {
    co_await on.connect();
    on.replace_left(from);
    co_await on.linger();
    const auto before = on.left;
    const std::string first = random_text(2000, 1), second = random_text(20'000, 2);
    on.near->pause_reading();
    on.far->write(first);
    co_await on.linger();
    on.replace_left(to);
    on.left->keeps_leases = true;
    on.far->write(second);
    co_await on.linger();
    on.expect(on.left->datas == 0 && before->datas == 0,
              "set_protocol does not end a pause of reading");
    on.near->resume_reading();
    co_await on.until_received(*on.left, first + second);
    on.expect(before->datas == 0, "held data goes to the new protocol", before->story);
    on.left->expect_leases_unchanged();
}

std::vector<stream_check> make_table() {
    std::vector<stream_check> table = {
        // rules 724, 735
        {"kept leases do not change", "724, 735", needs_leases, kept_leases_stay},
        {"leases are dropped in any order", "724, 735", needs_leases, dropped_in_any_order},
        // rules 724, 729
        {"written leases keep their bytes until they are sent", "724, 729",
         needs_pressure | runs_once, written_leases_keep_their_bytes},
        // rules 324, 326
        {"parts of leases are sent as they are written", "324, 326", runs_once, parts_of_leases},
        // rules 324, 724
        {"leases are echoed from inside their callback", "324, 724", needs_leases,
         [](bench& on) { return echo_of_leases(on, false); }},
        {"leases are echoed and kept", "324, 724", needs_leases,
         [](bench& on) { return echo_of_leases(on, true); }},
        // rules 354, 724
        {"a lost transport lets go of leases", "354, 724", needs_leases | needs_pressure,
         let_go_at_the_end},
        // rules 339, 346
        {"leases after the end are refused or dropped", "339, 346", runs_once,
         leases_after_the_end},
        // rules 289, 727
        {"changing between all kinds of protocol loses no byte", "289, 727", needs_leases,
         [](bench& on) { return every_change_under_load(on, false); }},
        {"changing between all kinds inside a data callback loses no byte", "289", needs_leases,
         [](bench& on) { return every_change_under_load(on, true); }},
    };
    // rules 720, 727, 728
    for (const auto& [from, to] :
         {std::pair(kind::leasing, kind::streaming), std::pair(kind::leasing, kind::buffered),
          std::pair(kind::streaming, kind::leasing), std::pair(kind::buffered, kind::leasing)}) {
        const bool of_memory = from == kind::buffered || to == kind::buffered;
        table.push_back({"data held for a " + std::string(name_of(from)) + " protocol goes to a " +
                             std::string(name_of(to)) + " one",
                         "720, 727, 728",
                         unsigned(needs_leases) | (of_memory ? needs_buffered : needs_nothing),
                         [from, to](bench& on) { return held_for_another_kind(on, from, to); }});
    }
    return table;
}

}  // namespace

std::span<const stream_check> lease_checks() {
    static const std::vector<stream_check> table = make_table();
    return table;
}

}  // namespace ouro::testing::detail
