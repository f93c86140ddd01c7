// Addresses as text and back, strictly.
#include <ouro/net/address.hpp>

#include <boost/test/unit_test.hpp>

#include <netinet/in.h>
#include <sys/un.h>

#include <random>

namespace ouro::test {
namespace {

bool refused(const result<address>& parsed) {
    return !parsed && parsed.error() == errc::value_error;
}

address raw_ip4(std::uint32_t host, std::uint16_t port) {
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_addr.s_addr = htonl(host);
    raw.sin_port = htons(port);
    return {reinterpret_cast<const sockaddr*>(&raw), sizeof raw};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(addresses)

BOOST_AUTO_TEST_CASE(good_texts_are_read_and_printed_as_they_were) {
    for (const char* text :
         {"0.0.0.0:0", "127.0.0.1:80", "255.255.255.255:65535", "10.0.0.1:1", "[::]:0", "[::1]:80",
          "[fe80::1%2]:8080", "[2001:db8::8:800:200c:417a]:443", "[::ffff:1.2.3.4]:9",
          "[fe80::1%4294967295]:1", "unix:/run/app.sock", "unix:relative", "unix:./a:b:1",
          "unix:@name", "unix:@", "unix:@with space", "unix:/[::1]:80"}) {
        const auto parsed = address::parse(text);
        BOOST_REQUIRE_MESSAGE(parsed, text);
        BOOST_TEST(parsed->to_string() == text);
        BOOST_TEST(bool(*parsed));
    }
}

BOOST_AUTO_TEST_CASE(other_spellings_of_ipv6_are_printed_the_canonical_way) {
    BOOST_TEST(address::parse("[0:0:0:0:0:0:0:1]:80")->to_string() == "[::1]:80");
    BOOST_TEST(address::parse("[2001:DB8:0:0::1]:80")->to_string() == "[2001:db8::1]:80");
}

BOOST_AUTO_TEST_CASE(bad_texts_are_refused_and_named) {
    for (const std::string text : {"",
                                   ":",
                                   "80",
                                   "127.0.0.1",
                                   "127.0.0.1:",
                                   ":80",
                                   "127.0.0.1:-1",
                                   "127.0.0.1:+1",
                                   "127.0.0.1:65536",
                                   "127.0.0.1:99999999999",
                                   "127.0.0.1:080",
                                   "127.0.0.1:00",
                                   "127.0.0.1: 80",
                                   "127.0.0.1:80 ",
                                   " 127.0.0.1:80",
                                   "127.0.0.1:8x",
                                   "127.0.0.1:0x50",
                                   "127.1:80",
                                   "127.0.0.01:80",
                                   "256.0.0.1:80",
                                   "1.2.3:80",
                                   "1.2.3.4.5:80",
                                   "0x7f.0.0.1:80",
                                   "127.0.0.1%1:80",
                                   "localhost:80",
                                   "example.invalid:80",
                                   "[127.0.0.1]:80",
                                   "::1:80",
                                   "[::1]",
                                   "[::1]80",
                                   "[::1:80",
                                   "::1]:80",
                                   "[]:80",
                                   "[[::1]]:80",
                                   "[::1]:",
                                   "[::1]:65536",
                                   "[::1%]:80",
                                   "[::1%lo]:80",
                                   "[::1%0]:80",
                                   "[::1%01]:80",
                                   "[::1%-1]:80",
                                   "[::1%4294967296]:80",
                                   "[fe80::1%1%1]:80",
                                   "[:::1]:80",
                                   "[1::2::3]:80",
                                   "[12345::]:80",
                                   "[::1 ]:80",
                                   "unix:",
                                   "Unix:/x",
                                   "unix"}) {
        const auto parsed = address::parse(text);
        BOOST_CHECK_MESSAGE(refused(parsed), "'" << text << "' was taken");
        const std::string shown = text.starts_with("unix:") ? text.substr(5) : text;
        BOOST_CHECK_MESSAGE(
            !parsed && parsed.error().message().find("'" + shown + "'") != shown.npos, text);
    }
}

BOOST_AUTO_TEST_CASE(zero_bytes_are_refused_where_c_would_stop_reading) {
    using namespace std::string_view_literals;
    BOOST_TEST(refused(address::parse("127.0.0.1\0:80"sv)));
    BOOST_TEST(refused(address::parse("127.0.0.1\0.evil:80"sv)));
    BOOST_TEST(refused(address::parse("127.0.0.1:80\0"sv)));
    BOOST_TEST(refused(address::parse("[::1\0]:80"sv)));
    BOOST_TEST(refused(address::from_ip("::1\0"sv, 80)));
    BOOST_TEST(refused(address::from_path("/run/a\0b"sv)));
}

BOOST_AUTO_TEST_CASE(what_is_refused_is_shown_cut_and_printable) {
    const auto parsed = address::parse(std::string(10'000, '\x1b') + ":1");
    BOOST_REQUIRE(refused(parsed));
    const std::string message = parsed.error().message();
    BOOST_TEST(message.size() < 300U);
    BOOST_TEST(message.find('\x1b') == std::string::npos);
}

BOOST_AUTO_TEST_CASE(from_ip_takes_numbers_only) {
    BOOST_TEST(address::from_ip("127.0.0.1", 80)->to_string() == "127.0.0.1:80");
    BOOST_TEST(address::from_ip("::1", 80)->to_string() == "[::1]:80");
    BOOST_TEST(address::from_ip("fe80::1%3", 80)->host() == "fe80::1%3");
    for (const char* host :
         {"", "localhost", "127.1", "[::1]", "1.2.3.4:5", "fe80::1%lo", " ::1", "::1%1x"}) {
        BOOST_CHECK_MESSAGE(refused(address::from_ip(host, 80)), host);
    }
    BOOST_TEST(refused(address::from_ip(std::string(100'000, '1'), 80)));
}

BOOST_AUTO_TEST_CASE(the_parts_of_an_ip_address_can_be_asked_for) {
    address where = *address::parse("[fe80::1%2]:80");
    BOOST_TEST(where.family() == AF_INET6);
    BOOST_TEST(where.host() == "fe80::1%2");
    BOOST_TEST(where.port() == 80);
    BOOST_TEST(where.path() == "");
    where.set_port(65535);
    BOOST_TEST(where.to_string() == "[fe80::1%2]:65535");
    const auto& raw = *reinterpret_cast<const sockaddr_in6*>(where.raw());
    BOOST_TEST(raw.sin6_scope_id == 2U);
    BOOST_TEST(where.length() == sizeof raw);
}

BOOST_AUTO_TEST_CASE(no_address_is_false_and_says_so) {
    address nowhere;
    BOOST_TEST(!nowhere);
    BOOST_TEST(nowhere.family() == AF_UNSPEC);
    BOOST_TEST(nowhere.to_string() == "no address");
    BOOST_TEST(nowhere.host() == "");
    BOOST_TEST(nowhere.path() == "");
    nowhere.set_port(80);
    BOOST_TEST(nowhere.port() == 0);
    BOOST_TEST((nowhere == address()));
}

// fault 46
BOOST_AUTO_TEST_CASE(a_unix_path_may_have_107_bytes) {
    const std::string longest(107, 'x');
    BOOST_TEST(address::from_path(longest)->path() == longest);
    BOOST_TEST(address::from_path("@" + std::string(106, 'x'))->path().size() == 107U);
    const auto too_long = address::from_path(longest + "y");
    BOOST_REQUIRE(refused(too_long));
    BOOST_TEST(too_long.error().message().find("107") != std::string::npos);
    BOOST_TEST(refused(address::from_path("@" + longest)));
    BOOST_TEST(refused(address::from_path("")));
}

BOOST_AUTO_TEST_CASE(abstract_names_are_counted_and_may_hold_zero_bytes) {
    using namespace std::string_view_literals;
    const address at = *address::from_path("@name");
    BOOST_TEST(at.path() == "\0name"sv);
    BOOST_TEST(at.to_string() == "unix:@name");
    BOOST_TEST(at.length() == offsetof(sockaddr_un, sun_path) + 5);
    BOOST_TEST((at == *address::from_path("\0name"sv)));
    BOOST_TEST((at != *address::from_path("\0name\0"sv)));
    BOOST_TEST((at != *address::from_path("name")));
    const address with_zero = *address::from_path("@a\0b"sv);
    BOOST_TEST(with_zero.path() == "\0a\0b"sv);
    BOOST_TEST((*address::parse(with_zero.to_string()) == with_zero));
}

BOOST_AUTO_TEST_CASE(an_unnamed_unix_socket_has_no_path) {
    sockaddr_un raw{};
    raw.sun_family = AF_UNIX;
    const address unnamed(reinterpret_cast<const sockaddr*>(&raw), sizeof raw.sun_family);
    BOOST_TEST(unnamed.family() == AF_UNIX);
    BOOST_TEST(unnamed.path() == "");
    BOOST_TEST(unnamed.to_string() == "unix:");
}

BOOST_AUTO_TEST_CASE(equality_means_the_same_place) {
    BOOST_TEST((*address::parse("127.0.0.1:80") == raw_ip4(0x7f000001, 80)));
    BOOST_TEST((*address::parse("127.0.0.1:80") != raw_ip4(0x7f000001, 81)));
    BOOST_TEST((*address::parse("[::1]:80") != *address::parse("[::1%1]:80")));
    BOOST_TEST((*address::parse("0.0.0.0:0") != *address::parse("[::]:0")));
}

BOOST_AUTO_TEST_CASE(random_addresses_survive_the_way_to_text_and_back) {
    std::mt19937 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const auto port = static_cast<std::uint16_t>(random());
        if (random() % 2) {
            const address made = raw_ip4(static_cast<std::uint32_t>(random()), port);
            const auto read = address::parse(made.to_string());
            BOOST_REQUIRE_MESSAGE(read && *read == made, made.to_string());
            continue;
        }
        sockaddr_in6 raw{};
        raw.sin6_family = AF_INET6;
        raw.sin6_port = htons(port);
        for (auto& each : raw.sin6_addr.s6_addr) {
            each = static_cast<std::uint8_t>(random() % 3 ? 0 : random());
        }
        if (random() % 3 == 0) raw.sin6_scope_id = static_cast<std::uint32_t>(random());
        const address made(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
        const auto read = address::parse(made.to_string());
        BOOST_REQUIRE_MESSAGE(read && *read == made, made.to_string());
    }
}

BOOST_AUTO_TEST_CASE(random_texts_are_refused_or_mean_what_they_print) {
    std::mt19937 random(2);
    const std::string_view letters = "0123456789abcf.:[]%-+ x@/";
    for (int i = 0; i < 200'000; ++i) {
        std::string text(random() % 16, ' ');
        for (char& each : text) each = letters[random() % letters.size()];
        const auto parsed = address::parse(text);
        if (!parsed) {
            BOOST_REQUIRE((parsed.error() == errc::value_error));
            continue;
        }
        const auto again = address::parse(parsed->to_string());
        BOOST_REQUIRE_MESSAGE(again && *again == *parsed, text);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
