// Random reads, chunks and cancellations against a model that does everything the slow and obvious
// way.
#include <ouro/streams/reader.hpp>

#include "async_test.hpp"

#include <algorithm>
#include <optional>
#include <random>

#include "reads.hpp"

namespace ouro::test {
namespace {

enum class kind { some, exactly, until, line, all };

struct request {
    kind what = kind::some;
    std::size_t count = 0;
    std::vector<std::string> separators{};
};

/// What a reader must be indistinguishable from. Outcomes are texts.
class model {
  public:
    explicit model(std::size_t limit) : limit_(limit) {}

    void feed(std::string_view text) { data_ += text; }
    void feed_eof() { eof_ = true; }
    bool at_eof() const { return eof_ && data_.empty(); }

    /// What `asked` gives now; nothing when it has to wait.
    std::optional<std::string> attempt(const request& asked) {
        switch (asked.what) {
        case kind::some:
            if (asked.count && data_.empty() && !eof_) return {};
            return "data:" + take(std::min(asked.count, data_.size()));
        case kind::all:
            return eof_ ? std::optional("data:" + take(data_.size())) : std::nullopt;
        case kind::exactly:
            if (data_.size() >= asked.count) return "data:" + take(asked.count);
            return eof_ ? std::optional(incomplete(asked.count)) : std::nullopt;
        case kind::line: {
            auto found = until({"\n"});
            if (!found || !found->starts_with("overrun")) {
                return found && found->starts_with("incomplete") ? "data:" + take(data_.size())
                                                                 : found;
            }
            const auto end = data_.find('\n');
            take(end == data_.npos ? data_.size() : end + 1);
            return "value error";
        }
        case kind::until:
            break;
        }
        auto found = until(asked.separators);
        return found && found->starts_with("incomplete") ? incomplete(0) : found;
    }

  private:
    std::optional<std::string> until(const std::vector<std::string>& separators) {
        std::size_t longest = 0;
        for (const auto& each : separators) longest = std::max(longest, each.size());
        for (std::size_t end = 1; end <= data_.size(); ++end) {
            for (const auto& each : separators) {
                if (!std::string_view(data_).substr(0, end).ends_with(each)) continue;
                const std::size_t start = end - each.size();
                return start > limit_ ? "overrun:" + std::to_string(start) : "data:" + take(end);
            }
        }
        const std::size_t searched = data_.size() + 1 > longest ? data_.size() + 1 - longest : 0;
        if (searched > limit_) return "overrun:" + std::to_string(searched);
        return eof_ ? std::optional<std::string>("incomplete") : std::nullopt;
    }
    std::string incomplete(std::size_t wanted) {
        return "incomplete:" + take(data_.size()) + ":" + std::to_string(wanted);
    }
    std::string take(std::size_t count) {
        std::string taken = data_.substr(0, count);
        data_.erase(0, count);
        return taken;
    }

    std::size_t limit_;
    std::string data_;
    bool eof_ = false;
};

task<bytes> perform(stream_reader& reader, const request& asked) {
    switch (asked.what) {
    case kind::some:
        co_return co_await reader.read(static_cast<std::ptrdiff_t>(asked.count));
    case kind::exactly:
        co_return co_await reader.readexactly(asked.count);
    case kind::line:
        co_return as_bytes(co_await reader.readline());
    case kind::all:
        co_return co_await reader.read();
    case kind::until:
        break;
    }
    if (asked.separators.size() == 1) {
        co_return as_bytes(co_await reader.readuntil(asked.separators[0]));
    }
    co_return as_bytes(co_await reader.readuntil({asked.separators[0], asked.separators[1]}));
}

std::string told(const result<bytes>& read) {
    if (read) return "data:" + std::string(as_text(*read));
    const error& why = read.error();
    if (why == errc::incomplete_read) {
        return "incomplete:" + why.partial() + ":" + std::to_string(why.count());
    }
    if (why == errc::limit_overrun) return "overrun:" + std::to_string(why.count());
    return why == errc::value_error ? "value error" : "error: " + why.message();
}

class chance {
  public:
    explicit chance(unsigned seed) : engine_(seed) {}
    std::size_t below(std::size_t limit) { return engine_() % limit; }
    bool one_in(std::size_t count) { return below(count) == 0; }
    /// Few letters, so that separators, halves of them and repeated prefixes are frequent.
    std::string text(std::size_t most) {
        std::string made(below(most + 1), ' ');
        for (char& each : made) each = "aab\nx"[below(5)];
        return made;
    }
    request any_request() {
        switch (below(9)) {
        case 0:
        case 1:
            return {.what = kind::some, .count = below(12)};
        case 2:
        case 3:
            return {.what = kind::exactly, .count = one_in(20) ? 5000 : below(20)};
        case 4:
        case 5:
            return {.what = kind::line};
        case 6:
            return {.what = kind::until, .separators = {separator()}};
        case 7:
            return {.what = kind::until, .separators = {separator(), separator()}};
        default:
            return one_in(30) ? request{.what = kind::all} : request{.what = kind::line};
        }
    }

  private:
    std::string separator() {
        std::string made;
        while (made.empty()) made = text(4);
        return made;
    }
    std::mt19937 engine_;
};

/// One reader's life.
class trial {
  public:
    trial(unsigned seed, std::size_t limit) : chance_(seed), reader_(limit), model_(limit) {}

    task<> run() {
        for (int i = 0; i < 150 && !model_.at_eof(); ++i) {
            while (chance_.one_in(2)) feed();
            if (!eof_ && chance_.one_in(60)) end();
            co_await read(chance_.any_request());
            BOOST_REQUIRE(reader_.at_eof() == model_.at_eof());
        }
        if (!eof_) end();
        co_await read({.what = kind::all});
        BOOST_TEST(reader_.at_eof());
    }

  private:
    void feed() {
        if (eof_) return;
        const std::string text =
            chance_.one_in(25) ? pattern(chance_.below(9000)) : chance_.text(9);
        reader_.feed_data(as_bytes(text));
        model_.feed(text);
        BOOST_REQUIRE(view_copy_ == as_text(view_));  // whatever moved, the last view did not
    }
    void end() {
        eof_ = true;
        reader_.feed_eof();
        model_.feed_eof();
    }
    task<> read(const request asked) {
        view_ = {};
        view_copy_.clear();
        auto reading = spawn(perform(reader_, asked));
        auto expected = model_.attempt(asked);
        while (!expected) {
            co_await settle(2);
            BOOST_REQUIRE(!reading.done());
            if (chance_.one_in(8)) {  // rule 620
                reading.cancel();
                const auto left = co_await as_result(reading.join());
                BOOST_REQUIRE(failed_with(left, errc::cancelled));
                co_return;
            }
            if (!eof_ && chance_.one_in(40)) end();
            feed();
            expected = model_.attempt(asked);
        }
        const auto given = co_await as_result(reading.join());
        BOOST_REQUIRE(told(given) == *expected);
        if (!given) co_return;
        view_ = *given;
        view_copy_ = as_text(view_);
    }

    chance chance_;
    stream_reader reader_;
    model model_;
    bool eof_ = false;
    bytes view_;
    std::string view_copy_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(reader_model)

// rules 596-614, 616, 620
OURO_ASYNC_TEST(random_reads_of_random_chunks_give_what_the_model_gives) {
    for (unsigned seed = 1; seed <= 1000; ++seed) {
        BOOST_TEST_INFO_SCOPE("seed " << seed);
        const std::size_t limits[] = {1, 2, 5, 16, 100, 70'000};
        trial each(seed, limits[seed % 6]);
        co_await each.run();
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
