// Checks of a connection's life: made, lost, what it knows of itself, who keeps it alive.
#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

task<> made_first(bench& on) {
    co_await on.connect();
    on.expect(on.left->made == 1 && on.right->made == 1,
              "connection_made has run on both ends when the maker returns");
    on.expect(on.left->link == on.near && on.right->link == on.far,
              "connection_made gets the transport that the maker returns", "another one");
    on.expect(!on.near->is_closing() && !on.far->is_closing(), "a new transport is not closing");
    on.expect(on.near->is_reading() && on.far->is_reading(), "a new transport reads");
    on.expect(on.near->get_write_buffer_size() == 0, "a new transport has nothing queued");
}

/// Makes every call of `on.near` with a trap for callbacks that come from inside.
task<> nothing_from_inside(bench& on) {
    co_await on.connect();
    const auto trapped = [&on](auto&& call) {
        on.left->inside_call = on.right->inside_call = true;
        call(*on.near);
        on.left->inside_call = on.right->inside_call = false;
    };
    const std::string text = random_text(1000);
    const bytes pieces[] = {as_bytes(text), as_bytes(text)};
    trapped([&](transport& link) { link.write(text); });
    trapped([&](transport& link) { link.writelines(pieces); });
    trapped([&](transport& link) {
        const bytes copied = as_bytes(text);
        link.write(std::vector<std::byte>(copied.begin(), copied.end()));
    });
    co_await on.until_received(*on.right, text + text + text + text);
    trapped([](transport& link) { link.pause_reading(); });
    on.far->write(text);
    co_await on.linger();
    trapped([](transport& link) { link.resume_reading(); });
    co_await on.until_received(*on.left, text);
    if (on.options.write_eof) trapped([](transport& link) { link.write_eof(); });
    trapped([](transport& link) { link.close(); });
    trapped([](transport& link) { link.abort(); });
    co_await on.until_both_lost();
}

task<> abort_not_from_inside(bench& on) {
    co_await on.connect();
    on.left->inside_call = on.right->inside_call = true;
    on.near->abort();
    on.left->inside_call = on.right->inside_call = false;
    on.expect(on.near->is_closing(), "an aborted transport is closing at once");
    co_await on.until_both_lost();
    on.expect_no_error(*on.left);
}

/// Every call on a lost transport is harmless.
task<> nothing_after_lost(bench& on) {
    co_await on.connect();
    on.near->close();
    co_await on.until_both_lost();
    const std::string before = on.stories();
    for (const auto& link : {on.near, on.far}) {
        const bytes piece = as_bytes("too late");
        link->write("too late");
        link->write(std::vector<std::byte>(10));
        link->writelines(std::span(&piece, 1));
        if (on.options.write_eof) link->write_eof();
        link->pause_reading();
        link->resume_reading();
        if (on.options.write_limits) link->set_write_buffer_limits(0);
        link->set_protocol(make_probe(on.receiver, on.found)->as_protocol());
        link->close();
        link->abort();
        on.expect(link->is_closing(), "a lost transport says that it is closing");
        on.expect(!link->is_reading(), "a lost transport does not read");
        on.expect(link->get_write_buffer_size() == 0, "a lost transport has nothing queued");
        on.expect(!link->get_protocol(), "a lost transport has no protocol");
    }
    co_await on.linger();
    on.expect(on.stories() == before, "nothing comes after connection_lost");
}

task<> unknown_info(bench& on) {
    co_await on.connect();
    on.expect(!on.near->extra_info("no such name").has_value(),
              "extra_info of an unknown name is empty", "it has a value");
    on.expect(on.near->get_extra_info<int>("no such name", 7) == 7,
              "get_extra_info of an unknown name gives the fallback", "another value");
}

task<> names_stay(bench& on) {
    co_await on.connect();
    const auto name_of = [&on](const char* which) {
        return on.near->get_extra_info<address>(which).to_string();
    };
    if (!on.near->extra_info("sockname").has_value()) co_return on.skip("it has no sockname");
    const std::string own = name_of("sockname"), other = name_of("peername");
    on.near->close();
    co_await on.until_both_lost();
    on.expect(name_of("sockname") == own, "sockname stays the same when lost", name_of("sockname"));
    on.expect(name_of("peername") == other, "peername stays the same when lost",
              name_of("peername"));
}

task<> socket_stays(bench& on) {
    co_await on.connect();
    const auto view = [&on] { return on.near->get_extra_info<const socket_view*>("socket"); };
    const socket_view* const first = view();
    if (!first) co_return on.skip("it has no socket");
    on.expect(first->fd() >= 0, "the socket of an open transport has a descriptor");
    on.near->close();
    co_await on.until_both_lost();
    on.expect(view() == first, "extra_info gives the same socket every time", "another one");
    on.expect(first->fd() == -1, "the socket of a lost transport has no descriptor",
              std::to_string(first->fd()));
}

task<> lives_without_references(bench& on) {
    on.left->keeps_link = false;
    co_await on.connect();
    on.near.reset();
    const std::string text = random_text(100);
    on.far->write(text);
    co_await on.until_received(*on.left, text);
    co_await on.linger();
    on.expect(!on.left->lost(), "a transport that nobody refers to stays open");
    on.far->close();
    co_await on.until_both_lost();
    on.expect_no_error(*on.left);
}

task<> lets_go(bench& on) {
    co_await on.connect();
    on.expect(on.left.use_count() > 1, "a transport holds its protocol", "it does not");
    on.near->close();
    co_await on.until_both_lost();
    co_await on.linger();
    on.expect(on.left.use_count() == 1 && on.right.use_count() == 1,
              "a lost transport lets go of its protocol", "the protocol is still referred to");
    const std::weak_ptr<transport> left = on.near;
    on.near.reset();
    on.left->link.reset();
    on.expect(left.expired(), "a lost transport that nobody refers to is destroyed",
              "it still exists");
}

task<> knows_its_protocol(bench& on) {
    co_await on.connect();
    on.expect(on.near->get_protocol() == on.left->as_protocol(),
              "get_protocol gives the protocol that the factory made", "another one");
}

}  // namespace

std::span<const stream_check> life_checks() {
    static const stream_check table[] = {
        // rules 262, 267
        {"connection_made comes first", "262, 267", needs_nothing, made_first},
        // rules 266, 298, 358, 741
        {"no callback comes from inside a call", "266, 298, 350, 741", needs_nothing,
         nothing_from_inside},
        {"abort calls nothing from inside", "266, 355, 358", needs_nothing, abort_not_from_inside},
        // rules 263, 283, 335, 340, 357, 362
        {"nothing happens after connection_lost", "263, 283, 335, 340, 357, 362", needs_nothing,
         nothing_after_lost},
        // rule 284
        {"an unknown name has no extra info", "284", runs_once, unknown_info},
        // rule 285
        {"names are known after the end", "285", runs_once, names_stay},
        // rules 286, 287
        {"the socket is one and loses its descriptor", "286, 287", runs_once, socket_stays},
        {"a connection lives without references to it", "263", needs_nothing,
         lives_without_references},
        {"a lost transport lets go", "361", needs_nothing, lets_go},
        {"a transport knows its protocol", "288", needs_nothing, knows_its_protocol},
    };
    return table;
}

}  // namespace ouro::testing::detail
