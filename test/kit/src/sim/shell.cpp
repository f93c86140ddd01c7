// Reading what simulated programs do.
#include "shell.hpp"

#include <cctype>

#include <ouro/runtime/assert.hpp>

namespace ouro::testing::sim {
namespace {

// Stands for a `$` that means a variable.
constexpr char variable_mark = '\x01';

bool in_name(char each) noexcept {
    return std::isalnum(static_cast<unsigned char>(each)) || each == '_';
}

class reader {
  public:
    explicit reader(std::string_view text) : text_(text) {}

    std::vector<command> all() {
        while (at_ < text_.size()) {
            const char next = text_[at_];
            if (next == ' ' || next == '\t') {
                ++at_;
            } else if (next == ';' || next == '\n' || next == '&') {
                ++at_;
                end_command(next == '&');
            } else if (!redirection_here()) {
                current_.words.push_back(word());
            }
        }
        end_command(false);
        return std::move(commands_);
    }

  private:
    void end_command(bool in_background) {
        current_.in_background = in_background;
        if (!current_.words.empty()) commands_.push_back(std::move(current_));
        current_ = {};
    }
    bool redirection_here() {
        std::size_t at = at_;
        const bool numbered = std::isdigit(static_cast<unsigned char>(text_[at])) != 0;
        if (numbered) ++at;
        if (at >= text_.size() || (text_[at] != '<' && text_[at] != '>')) return false;
        const int usual = text_[at] == '<' ? 0 : 1;
        redirection made{numbered ? text_[at_] - '0' : usual, redirection::null_device};
        at_ = at + 1;
        if (at_ < text_.size() && text_[at_] == '&') {
            ++at_;
            const std::string target = word();
            OURO_ASSERT(target.size() == 1, "a simulated program uses one-digit descriptors");
            made.to = target == "-" ? redirection::closed : target[0] - '0';
        } else {
            while (at_ < text_.size() && text_[at_] == ' ') ++at_;
            OURO_ASSERT(word() == "/dev/null", "a simulated program has no file but /dev/null");
        }
        current_.redirections.push_back(made);
        return true;
    }
    std::string word() {
        std::string made;
        char quote = 0;
        for (; at_ < text_.size(); ++at_) {
            const char each = text_[at_];
            if (quote ? each == quote : each == '\'' || each == '"') {
                quote = quote ? 0 : each;
            } else if (!quote && std::string_view(" \t\n;&<>").find(each) != std::string::npos) {
                break;
            } else if (each == '$' && quote != '\'') {
                made += variable_mark;
            } else {
                made += each;
            }
        }
        OURO_ASSERT(!quote, "a simulated program has an open quote");
        return made;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    command current_{};
    std::vector<command> commands_{};
};

}  // namespace

std::vector<command> parse_script(std::string_view text) { return reader(text).all(); }

std::vector<std::string> expand(const command& from, const variables& values) {
    std::vector<std::string> words;
    for (const std::string& each : from.words) {
        std::string made;
        for (std::size_t at = 0; at < each.size();) {
            if (each[at] != variable_mark) {
                made += each[at++];
                continue;
            }
            std::size_t end = ++at;
            while (end < each.size() && in_name(each[end])) ++end;
            if (end == at && end < each.size()) ++end;  // $$ and $?
            std::string name = each.substr(at, end - at);
            if (name[0] == variable_mark) name = "$";
            const auto found = values.find(name);
            if (found != values.end()) made += found->second;
            at = end;
        }
        words.push_back(std::move(made));
    }
    return words;
}

}  // namespace ouro::testing::sim
