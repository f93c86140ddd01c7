// The language that simulated programs are written in: a small part of that of sh.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ouro::testing::sim {

/// Where one descriptor of a command leads.
struct redirection {
    static constexpr int closed = -1;
    static constexpr int null_device = -2;
    int descriptor;
    int to;  // another descriptor, or one of these
};

/// One command, as it is written: variables are put in when it runs.
struct command {
    std::vector<std::string> words{};
    std::vector<redirection> redirections{};
    bool in_background = false;
};

/// Reads `text`: commands that end with `;`, `&` or a line, quotes, `>&2`, `<&3`, `2>&1`, `1>&-`
/// and `>/dev/null`. A word or sign that is not known there fails an assertion.
std::vector<command> parse_script(std::string_view text);

using variables = std::map<std::string, std::string>;
/// The words of a command with the values of its variables: "$NAME", "$$", "$?".
std::vector<std::string> expand(const command& from, const variables& values);

}  // namespace ouro::testing::sim
