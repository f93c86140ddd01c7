#include "resp.hpp"

#include <algorithm>
#include <charconv>

namespace kv {

namespace {

constexpr std::size_t longest_number_bytes = 32;  // a line that holds one number, its end included

void append_number(std::string& to, char mark, std::int64_t value) {
    char text[24];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    to += mark;
    to.append(text, end);
    to += "\r\n";
}

}  // namespace

request_parser::state request_parser::parse(std::string_view input) {
    if (input.empty()) return state::unfinished;
    const state found = input.front() == '*' ? parse_array(input) : parse_inline(input);
    if (found == state::unfinished && input.size() > limits_.request_bytes) {
        return fail("too big a request");
    }
    return found;
}

void request_parser::next() noexcept {
    at_ = scanned_ = missing_ = length_ = 0;
    has_count_ = has_length_ = false;
    pieces_.clear();
    words_.clear();
}

request_parser::state request_parser::fail(const char* problem) noexcept {
    problem_ = problem;
    return state::malformed;
}

/// The views come last, because `input` moves while it grows.
request_parser::state request_parser::finish(std::string_view input) {
    for (const piece& each : pieces_) words_.push_back(input.substr(each.start, each.length));
    return state::complete;
}

/// The line at `at_`: `mark`, then a number up to `most`. Passes over it when it is complete.
request_parser::line request_parser::number_after(char mark, std::string_view input,
                                                  std::size_t most, std::size_t& into) {
    const std::string_view rest = input.substr(at_, longest_number_bytes);
    if (rest.empty()) return line::unfinished;
    if (rest.front() != mark) return line::malformed;
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
        return rest.size() < longest_number_bytes ? line::unfinished : line::malformed;
    }
    if (rest[end - 1] != '\r') return line::malformed;
    const char* const last = rest.data() + end - 1;
    const auto [stopped, failure] = std::from_chars(rest.data() + 1, last, into);
    if (failure != std::errc() || stopped != last || into > most) return line::malformed;
    at_ += end + 1;
    return line::complete;
}

request_parser::state request_parser::parse_array(std::string_view input) {
    if (!has_count_) {
        const line count = number_after('*', input, limits_.words, missing_);
        if (count == line::malformed) return fail("invalid multibulk length");
        if (count == line::unfinished) return state::unfinished;
        has_count_ = true;
    }
    while (missing_ != 0) {
        if (!has_length_) {
            const line length = number_after('$', input, limits_.word_bytes, length_);
            if (length == line::malformed) return fail("expected a '$' and a valid bulk length");
            if (length == line::unfinished) return state::unfinished;
            has_length_ = true;
        }
        if (input.size() - at_ < length_ + 2) return state::unfinished;
        if (input.substr(at_ + length_, 2) != "\r\n") return fail("no end of line after a bulk");
        pieces_.push_back({at_, length_});
        at_ += length_ + 2;
        if (at_ > limits_.request_bytes) return fail("too big a request");
        has_length_ = false;
        --missing_;
    }
    return finish(input);
}

request_parser::state request_parser::parse_inline(std::string_view input) {
    const std::size_t end = input.find('\n', scanned_);
    if (end == std::string_view::npos) {
        scanned_ = input.size();
        if (scanned_ > limits_.inline_bytes) return fail("too big inline request");
        return state::unfinished;
    }
    if (end > limits_.inline_bytes) return fail("too big inline request");
    constexpr std::string_view spaces = " \t\r\v\f";
    const std::string_view text = input.substr(0, end);
    for (std::size_t start = 0;
         (start = text.find_first_not_of(spaces, start)) != std::string_view::npos;) {
        const std::size_t stop = std::min(text.find_first_of(spaces, start), end);
        pieces_.push_back({start, stop - start});
        start = stop;
    }
    at_ = end + 1;
    return finish(input);
}

void append_status(std::string& to, std::string_view text) { (to += '+').append(text) += "\r\n"; }
void append_error(std::string& to, std::string_view text) { (to += '-').append(text) += "\r\n"; }
void append_integer(std::string& to, std::int64_t value) { append_number(to, ':', value); }
void append_text(std::string& to, std::string_view text) {
    append_number(to, '$', static_cast<std::int64_t>(text.size()));
    to.append(text) += "\r\n";
}
void append_nothing(std::string& to) { to += "$-1\r\n"; }
void append_array(std::string& to, std::size_t count) {
    append_number(to, '*', static_cast<std::int64_t>(count));
}

}  // namespace kv
