// Sockets that a service manager handed over: how they are named, and what makes no sense.
#include <ouro/net/inherited.hpp>

#include "async_test.hpp"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace ouro::test {
namespace {

/// Two bound sockets whose descriptors follow each other, and the first of their numbers.
task<int> hand_over_two(std::vector<socket>& filler) {
    int last = -2;
    for (;;) {
        auto made = co_await socket::open(loop::current(), AF_INET);
        co_await made.bind(co_await address::parse("127.0.0.1:0"));
        const int fd = made.fd();
        filler.push_back(std::move(made));
        if (fd == last + 1) break;
        last = fd;
    }
    for (int i = 0; i < 2; ++i) {
        (void)filler.back().release();
        filler.pop_back();
    }
    co_return last;
}

result<std::vector<inherited_socket>> inherit(const char* pid, const char* count, const char* names,
                                              int first) {
    return detail::inherit(
        loop::current(),
        {.pid = pid, .count = count, .names = names, .first = first, .own_pid = 77});
}

void discard(int first) {
    for (int fd = first; fd < first + 2; ++fd) io::discard(loop::current(), fd);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(inherited)

OURO_ASYNC_TEST(sockets_handed_over_come_in_order_with_their_names) {
    for (const char* names : {"web:admin", "web:admin:more", "web", "", "web:", ":admin"}) {
        BOOST_TEST_INFO_SCOPE("names '" << names << "'");
        std::vector<socket> filler;
        const int first = co_await hand_over_two(filler);
        auto got = inherit("77", "2", names, first);
        BOOST_REQUIRE(got.has_value());
        BOOST_REQUIRE(got->size() == 2U);
        const std::string said(names);
        BOOST_TEST((*got)[0].name == (said.starts_with("web") ? "web" : ""));
        BOOST_TEST((*got)[1].name == (said.find(":admin") != said.npos ? "admin" : ""));
        for (int i = 0; i < 2; ++i) {
            BOOST_TEST((*got)[std::size_t(i)].on.fd() == first + i);
            BOOST_CHECK((*got)[std::size_t(i)].on.listen().has_value());
        }
    }
}

OURO_ASYNC_TEST(without_names_or_variables_there_is_nothing_wrong) {
    std::vector<socket> filler;
    const int first = co_await hand_over_two(filler);
    for (const auto& [pid, count] : {std::pair<const char*, const char*>(nullptr, nullptr),
                                     {nullptr, "2"},
                                     {"77", nullptr},
                                     {"78", "2"},
                                     {"77", "0"}}) {
        const auto none = inherit(pid, count, nullptr, first);
        BOOST_REQUIRE(none.has_value());
        BOOST_TEST(none->empty());
    }
    auto unnamed = inherit("77", "2", nullptr, first);
    BOOST_REQUIRE(unnamed.has_value());
    BOOST_TEST(unnamed->size() == 2U);
    BOOST_TEST((*unnamed)[0].name.empty());
}

OURO_ASYNC_TEST(what_makes_no_sense_is_refused_and_nothing_is_taken) {
    std::vector<socket> filler;
    const int first = co_await hand_over_two(filler);
    const auto before = loop::current().counters().descriptors;
    for (const auto& [pid, count] :
         {std::pair("", "2"), std::pair("x", "2"), std::pair("77x", "2"), std::pair("77", "two"),
          std::pair("77", "-1"), std::pair("77", ""), std::pair("77", "5000"),
          std::pair("77", "99999999999")}) {
        BOOST_TEST_INFO_SCOPE("LISTEN_PID '" << pid << "', LISTEN_FDS '" << count << "'");
        const auto refused = inherit(pid, count, nullptr, first);
        BOOST_CHECK(!refused && refused.error() == errc::value_error);
    }
    discard(first);
    const auto closed = inherit("77", "2", nullptr, first);
    BOOST_CHECK(!closed && closed.error() == errc::value_error);
    BOOST_TEST(loop::current().counters().descriptors == before);
}

OURO_KERNEL_TEST(the_environment_is_read_once, "the environment belongs to the process") {
    ::setenv("LISTEN_PID", std::to_string(::getpid() + 1).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    const auto not_for_us = inherited_sockets();
    BOOST_CHECK(not_for_us && not_for_us->empty());
    BOOST_CHECK(::getenv("LISTEN_FDS") != nullptr);  // it may be for somebody else
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "nonsense", 1);
    const auto refused = inherited_sockets();
    BOOST_CHECK(!refused && refused.error() == errc::value_error);
    ::unsetenv("LISTEN_PID");
    ::unsetenv("LISTEN_FDS");
    const auto none = inherited_sockets();
    BOOST_CHECK(none && none->empty());
    co_return;
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
