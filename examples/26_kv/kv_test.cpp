// The parser, the store and the commands, without a network.
#define BOOST_TEST_MODULE 26_kv
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "commands.hpp"
#include "fuzz.hpp"
#include "resp.hpp"

using namespace std::chrono_literals;
using state = kv::request_parser::state;

namespace {

/// A request as programs send it.
std::string request(const std::vector<std::string>& words) {
    std::string text;
    kv::append_array(text, words.size());
    for (const std::string& word : words) kv::append_text(text, word);
    return text;
}

std::vector<std::string> copied(const kv::request_parser& from) {
    return {from.words().begin(), from.words().end()};
}

/// A database at a time of the test's choice, asked in lines of words.
struct asked {
    kv::database in{};
    kv::time_point now = kv::time_point(1h);

    std::string operator()(const std::string& line) {
        kv::request_parser parser;
        const std::string text = line + "\r\n";
        BOOST_REQUIRE(parser.parse(text) == state::complete);
        in.data.set_now(now);
        std::string reply;
        (void)kv::answer(in, now, parser.words(), reply);
        return reply;
    }
};

/// What the parser says to `text`, and why.
std::string refusal(const std::string& text, kv::request_limits limits = {}) {
    kv::request_parser parser(limits);
    return parser.parse(text) == state::malformed ? parser.problem() : "";
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_request_is_the_same_wherever_it_is_split) {
    const std::vector<std::string> words{"SET", "", "two\r\nlines", std::string(300, 'x')};
    const std::string text = request(words);
    for (std::size_t split = 0; split < text.size(); ++split) {
        kv::request_parser parser;
        BOOST_TEST((parser.parse(text.substr(0, split)) == state::unfinished));
        BOOST_TEST((parser.parse(text) == state::complete));
        BOOST_TEST(copied(parser) == words);
        BOOST_TEST(parser.size() == text.size());
    }
}

BOOST_AUTO_TEST_CASE(a_request_may_come_byte_by_byte_and_move_meanwhile) {
    const std::vector<std::string> words{"MSET", "a", "1", "b", "2"};
    const std::string text = request(words);
    kv::request_parser parser;
    for (std::size_t size = 1; size < text.size(); ++size) {
        const std::string elsewhere = text.substr(0, size);
        BOOST_TEST((parser.parse(elsewhere) == state::unfinished));
    }
    BOOST_TEST((parser.parse(text) == state::complete));
    BOOST_TEST(copied(parser) == words);
}

BOOST_AUTO_TEST_CASE(requests_follow_each_other_and_lines_may_come_between) {
    const std::string text = request({"GET", "a"}) + "ping  x\r\n\r\n" + request({}) + "quit\n";
    std::string_view rest = text;
    std::vector<std::vector<std::string>> all;
    kv::request_parser parser;
    while (!rest.empty()) {
        BOOST_REQUIRE((parser.parse(rest) == state::complete));
        all.push_back(copied(parser));
        rest.remove_prefix(parser.size());
        parser.next();
    }
    const std::vector<std::vector<std::string>> expected{
        {"GET", "a"}, {"ping", "x"}, {}, {}, {"quit"}};
    BOOST_TEST((all == expected));
}

BOOST_AUTO_TEST_CASE(what_is_no_request_is_refused_with_a_reason) {
    BOOST_TEST(refusal("*x\r\n") == "invalid multibulk length");
    BOOST_TEST(refusal("*-1\r\n") == "invalid multibulk length");
    BOOST_TEST(refusal("*1\n") == "invalid multibulk length");
    BOOST_TEST(refusal("*99999999999999999999999\r\n") == "invalid multibulk length");
    BOOST_TEST(refusal("*" + std::string(40, '0')) == "invalid multibulk length");
    BOOST_TEST(refusal("*65537\r\n") == "invalid multibulk length");
    const std::string bad_bulk = "expected a '$' and a valid bulk length";
    BOOST_TEST(refusal("*1\r\nGET\r\n") == bad_bulk);
    BOOST_TEST(refusal("*1\r\n$\r\n") == bad_bulk);
    BOOST_TEST(refusal("*1\r\n$-5\r\n") == bad_bulk);
    BOOST_TEST(refusal("*1\r\n$99999999\r\n") == bad_bulk);
    BOOST_TEST(refusal("*1\r\n$3\r\nGETxx") == "no end of line after a bulk");
    BOOST_TEST(refusal(std::string(65537, 'x')) == "too big inline request");
    BOOST_TEST(refusal(std::string(65537, 'x') + "\r\n") == "too big inline request");
}

BOOST_AUTO_TEST_CASE(a_request_has_a_limit_in_all) {
    const kv::request_limits limits{.word_bytes = 100, .request_bytes = 200};
    const std::string word(100, 'x');
    BOOST_TEST(refusal(request({word}), limits) == "");
    BOOST_TEST(refusal(request({word, word}), limits) == "too big a request");
}

BOOST_AUTO_TEST_CASE(commands_answer_as_those_of_redis_do) {
    asked ask;
    BOOST_TEST(ask("PING") == "+PONG\r\n");
    BOOST_TEST(ask("ping there") == "$5\r\nthere\r\n");
    BOOST_TEST(ask("ECHO there") == "$5\r\nthere\r\n");
    BOOST_TEST(ask("GET a") == "$-1\r\n");
    BOOST_TEST(ask("SET a 1") == "+OK\r\n");
    BOOST_TEST(ask("GET a") == "$1\r\n1\r\n");
    BOOST_TEST(ask("INCR a") == ":2\r\n");
    BOOST_TEST(ask("DECRBY a 12") == ":-10\r\n");
    BOOST_TEST(ask("INCR new") == ":1\r\n");
    BOOST_TEST(ask("MSET a x b y") == "+OK\r\n");
    BOOST_TEST(ask("MGET a c b") == "*3\r\n$1\r\nx\r\n$-1\r\n$1\r\ny\r\n");
    BOOST_TEST(ask("EXISTS a a c") == ":2\r\n");
    BOOST_TEST(ask("DEL a b c") == ":2\r\n");
    BOOST_TEST(ask("DBSIZE") == ":1\r\n");
    BOOST_TEST(ask("SET a 1 NX") == "+OK\r\n");
    BOOST_TEST(ask("SET a 2 NX") == "$-1\r\n");
    BOOST_TEST(ask("SET b 2 XX") == "$-1\r\n");
    BOOST_TEST(ask("CONFIG GET save") == "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    BOOST_TEST(ask("FLUSHALL") == "+OK\r\n");
    BOOST_TEST(ask("DBSIZE") == ":0\r\n");
}

BOOST_AUTO_TEST_CASE(wrong_commands_are_told_why) {
    asked ask;
    BOOST_TEST(ask("nonsense \x01") == "-ERR unknown command 'nonsense'\r\n");
    BOOST_TEST(ask("\x01\x7f") == "-ERR unknown command '?"
                                  "?'\r\n");
    BOOST_TEST(ask("GET") == "-ERR wrong number of arguments for 'get' command\r\n");
    BOOST_TEST(ask("MSET a 1 b") == "-ERR wrong number of arguments for 'mset' command\r\n");
    BOOST_TEST(ask("SET a 1 EX") == "-ERR syntax error\r\n");
    BOOST_TEST(ask("SET a 1 NX XX") == "-ERR syntax error\r\n");
    BOOST_TEST(ask("SET a 1 EX 0") == "-ERR invalid expire time in 'set' command\r\n");
    const std::string no_integer = "-ERR value is not an integer or out of range\r\n";
    BOOST_TEST(ask("SET a 1 EX 99999999999999999") == no_integer);
    ask("SET a text");
    BOOST_TEST(ask("INCR a") == no_integer);
    ask("SET a 9223372036854775807");
    BOOST_TEST(ask("INCR a") == no_integer);
    BOOST_TEST(ask("GET a") == "$19\r\n9223372036854775807\r\n");
    ask("SET a -1");
    BOOST_TEST(ask("DECRBY a -9223372036854775808") == no_integer);
    BOOST_TEST(ask("EXPIRE a x") == no_integer);
}

BOOST_AUTO_TEST_CASE(keys_live_as_long_as_they_were_given) {
    asked ask;
    BOOST_TEST(ask("TTL a") == ":-2\r\n");
    BOOST_TEST(ask("EXPIRE a 5") == ":0\r\n");
    ask("SET a 1");
    BOOST_TEST(ask("TTL a") == ":-1\r\n");
    BOOST_TEST(ask("EXPIRE a 5") == ":1\r\n");
    BOOST_TEST(ask("TTL a") == ":5\r\n");
    ask.now += 4999ms;
    BOOST_TEST(ask("PTTL a") == ":1\r\n");
    BOOST_TEST(ask("INCR a") == ":2\r\n");  // and keeps its deadline
    ask.now += 1ms;
    BOOST_TEST(ask("GET a") == "$-1\r\n");
    BOOST_TEST(ask("INCR a") == ":1\r\n");
    BOOST_TEST(ask("TTL a") == ":-1\r\n");

    ask("SET b 1 PX 100");
    BOOST_TEST(ask("PERSIST b") == ":1\r\n");
    BOOST_TEST(ask("PERSIST b") == ":0\r\n");
    ask("SET c 1 EX 1");
    ask("SET c 2");  // takes the deadline away
    ask("SET d 1 EX 1");
    ask("SET d 2 KEEPTTL");
    BOOST_TEST(ask("EXPIRE b -1") == ":1\r\n");
    ask.now += 1h;
    BOOST_TEST(ask("MGET b c d") == "*3\r\n$-1\r\n$1\r\n2\r\n$-1\r\n");
}

BOOST_AUTO_TEST_CASE(what_has_expired_gives_its_memory_back) {
    kv::store data;
    const kv::time_point begin(1h);
    data.set_now(begin);
    for (int i = 0; i < 100; ++i) {
        const std::string key = "key" + std::to_string(i);
        data.set(key, "value", begin + std::chrono::seconds(i));
        data.set(key, "other", begin + std::chrono::seconds(100 - i));
    }
    data.set("lasting", "value");
    BOOST_TEST(data.mortal_count() == 100U);
    data.set_now(begin + 50s);
    BOOST_TEST(data.drop_expired(20));
    BOOST_TEST(data.size() == 81U);
    BOOST_TEST(!data.drop_expired(1000));
    BOOST_TEST(data.size() == 51U);
    data.set_now(begin + 1h);
    BOOST_TEST(!data.drop_expired(1000));
    BOOST_TEST(data.size() == 1U);
    BOOST_TEST(data.mortal_count() == 0U);
}

BOOST_AUTO_TEST_CASE(a_reply_has_a_limit) {
    asked ask;
    ask("SET a " + std::string(60000, 'x'));
    std::string many = "MGET";
    for (int i = 0; i < 2000; ++i) many += " a";
    BOOST_TEST(ask(many) == "-ERR the reply would be too big\r\n");
}

BOOST_AUTO_TEST_CASE(any_bytes_are_answered_the_same_however_they_are_cut) {
    const std::vector<std::string> seeds{request({"SET", "a", "1", "PX", "100"}),
                                         request({"MGET", "a", "b"}),
                                         request({"INCRBY", "a", "-3"}),
                                         "get a\r\nset b \"x\"\r\n",
                                         request({"CONFIG", "GET", "*"}),
                                         "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n",
                                         request({"QUIT"}),
                                         "*1\r\n$4\r\nINFO\r\n"};
    std::mt19937 random(21);
    const auto below = [&](std::size_t limit) { return random() % limit; };
    for (int round = 0; round < 20000; ++round) {
        std::string text(1, static_cast<char>(below(256)));
        for (std::size_t count = below(6) + 1; count != 0; --count) text += seeds[below(8)];
        for (std::size_t count = below(4); count != 0; --count) {
            const std::size_t at = below(text.size());
            switch (below(3)) {
            case 0:
                text[at] = "\r\n*$-0919 \0xq"[below(13)];
                break;
            case 1:
                text.erase(at, below(8));
                break;
            default:
                text.insert(at, text.substr(below(text.size()), below(20)));
            }
        }
        (void)LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()),
                                     text.size());
    }
}
