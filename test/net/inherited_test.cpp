// Sockets that a service manager handed over: how they are named, and what makes no sense.
#include <ouro/net/inherited.hpp>

#include "async_test.hpp"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace ouro::test {
namespace {

/// Two bound sockets whose descriptors follow each other, closed unless somebody took them.
class handed_over {
  public:
    handed_over(loop& home, int first) noexcept : home_(&home), first_(first) {}
    handed_over(handed_over&& other) noexcept
        : home_(other.home_), first_(std::exchange(other.first_, -1)) {}
    handed_over& operator=(handed_over&&) = delete;
    ~handed_over() { close(); }
    void close() noexcept {
        if (first_ < 0) return;
        for (int fd = first_; fd < first_ + 2; ++fd) io::discard(*home_, fd);
        first_ = -1;
    }
    int first() const noexcept { return first_; }
    /// To process 77.
    result<std::vector<inherited_socket>> inherit(const char* pid, const char* count,
                                                  const char* names = nullptr) {
        auto got = detail::inherit(
            *home_, {.pid = pid, .count = count, .names = names, .first = first_, .own_pid = 77});
        if (got && !got->empty()) first_ = -1;
        return got;
    }

  private:
    loop* home_;
    int first_;
};

task<handed_over> hand_over() {
    loop& home = loop::current();
    std::vector<socket> filler;
    for (;;) {
        filler.push_back(co_await socket::open(home, AF_INET));
        co_await filler.back().bind(co_await address::parse("127.0.0.1:0"));
        const std::size_t count = filler.size();
        if (count > 1 && filler[count - 1].fd() == filler[count - 2].fd() + 1) break;
    }
    (void)filler.back().release();
    filler.pop_back();
    co_return handed_over(home, filler.back().release());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(inherited)

OURO_ASYNC_TEST(sockets_handed_over_come_in_order_with_their_names) {
    for (const char* names : {"web:admin", "web:admin:more", "web", "", "web:", ":admin"}) {
        BOOST_TEST_INFO_SCOPE("names '" << names << "'");
        auto sockets = co_await hand_over();
        const int first = sockets.first();
        auto got = sockets.inherit("77", "2", names);
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
    auto sockets = co_await hand_over();
    for (const auto& [pid, count] : {std::pair<const char*, const char*>(nullptr, nullptr),
                                     {nullptr, "2"},
                                     {"77", nullptr},
                                     {"78", "2"},
                                     {"77", "0"}}) {
        const auto none = sockets.inherit(pid, count);
        BOOST_REQUIRE(none.has_value());
        BOOST_TEST(none->empty());
    }
    auto unnamed = sockets.inherit("77", "2");
    BOOST_REQUIRE(unnamed.has_value());
    BOOST_TEST(unnamed->size() == 2U);
    BOOST_TEST((*unnamed)[0].name.empty());
}

OURO_ASYNC_TEST(what_makes_no_sense_is_refused_and_nothing_is_taken) {
    auto sockets = co_await hand_over();
    const auto before = loop::current().counters().descriptors;
    for (const auto& [pid, count] :
         {std::pair("", "2"), std::pair("x", "2"), std::pair("77x", "2"), std::pair("77", "two"),
          std::pair("77", "-1"), std::pair("77", ""), std::pair("77", "5000"),
          std::pair("77", "99999999999")}) {
        BOOST_TEST_INFO_SCOPE("LISTEN_PID '" << pid << "', LISTEN_FDS '" << count << "'");
        const auto refused = sockets.inherit(pid, count);
        BOOST_CHECK(!refused && refused.error() == errc::value_error);
    }
    const int first = sockets.first();
    sockets.close();
    const auto closed = detail::inherit(
        loop::current(),
        {.pid = "77", .count = "2", .names = nullptr, .first = first, .own_pid = 77});
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
