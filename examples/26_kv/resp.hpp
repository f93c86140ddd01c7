// Redis' protocol: requests out of bytes that come in any pieces, and replies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

/// What a client may ask for at most. Beyond it the connection ends: the memory is ours.
struct request_limits {
    std::size_t words = 64 * 1024;                 ///< of one request
    std::size_t word_bytes = 16 * 1024 * 1024;     ///< of one word
    std::size_t request_bytes = 32 * 1024 * 1024;  ///< of one request, as it is sent
    std::size_t inline_bytes = 64 * 1024;          ///< of a request that is one line of plain text
};

/// Reads one request after the other: arrays of texts as programs send them, or lines of words as
/// people type them. Every byte is looked at once, however small the pieces are in which it comes.
class request_parser {
  public:
    explicit request_parser(request_limits limits = {}) noexcept : limits_(limits) {}

    enum class state { unfinished, complete, malformed };

    /// Goes on with the request at the start of `input`, of which more has come since the last
    /// call; it may have moved.
    state parse(std::string_view input);
    /// The words of a complete request, views into `input`; none for an empty line.
    const std::vector<std::string_view>& words() const noexcept { return words_; }
    /// How many bytes of `input` the complete request takes.
    std::size_t size() const noexcept { return at_; }
    /// What is wrong with a malformed request.
    const char* problem() const noexcept { return problem_; }
    /// Begins with the next request.
    void next() noexcept;

  private:
    struct piece {
        std::size_t start;
        std::size_t length;
    };
    enum class line { unfinished, complete, malformed };

    state parse_array(std::string_view input);
    state parse_inline(std::string_view input);
    line number_after(char mark, std::string_view input, std::size_t most, std::size_t& into);
    state fail(const char* problem) noexcept;
    state finish(std::string_view input);

    request_limits limits_;
    std::size_t at_ = 0;       // everything before it is parsed
    std::size_t scanned_ = 0;  // of the line at `at_`: holds no end of line up to here
    std::size_t missing_ = 0;  // words that are still to come
    std::size_t length_ = 0;   // of the word at `at_`, once it is known
    bool has_count_ = false;
    bool has_length_ = false;
    std::vector<piece> pieces_;
    std::vector<std::string_view> words_;
    const char* problem_ = "";
};

/// Appends one reply to `to`.
void append_status(std::string& to, std::string_view text);
void append_error(std::string& to, std::string_view text);
void append_integer(std::string& to, std::int64_t value);
void append_text(std::string& to, std::string_view text);
void append_nothing(std::string& to);
/// The start of an array: `count` replies follow.
void append_array(std::string& to, std::size_t count);

}  // namespace kv
