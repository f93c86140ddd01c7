#include "fuzz.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "commands.hpp"
#include "resp.hpp"

namespace {

constexpr kv::request_limits small{
    .words = 64, .word_bytes = 512, .request_bytes = 2048, .inline_bytes = 256};

/// What a service without a network says: replies, and the problem it ends with.
class service {
  public:
    void receive(std::string_view data) {
        if (over_) return;
        unfinished_ += data;
        std::string_view rest = unfinished_;
        while (!over_) {
            const auto state = parser_.parse(rest);
            if (state == kv::request_parser::state::unfinished) break;
            if (state == kv::request_parser::state::malformed) {
                kv::append_error(replies_, parser_.problem());
                over_ = true;
                break;
            }
            for (const std::string_view word : parser_.words()) {
                const bool is_inside = word.data() >= rest.data() &&
                                       word.data() + word.size() <= rest.data() + rest.size();
                if (!is_inside) std::abort();
            }
            if (parser_.size() == 0 || parser_.size() > rest.size()) std::abort();
            if (!parser_.words().empty()) {
                over_ = kv::answer(in_, kv::time_point(), parser_.words(), replies_) ==
                        kv::after::close;
            }
            rest.remove_prefix(parser_.size());
            parser_.next();
        }
        unfinished_.erase(0, unfinished_.size() - rest.size());
    }
    const std::string& replies() const noexcept { return replies_; }

  private:
    kv::database in_;
    kv::request_parser parser_{small};
    std::string unfinished_;
    std::string replies_;
    bool over_ = false;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    service whole, cut;
    whole.receive(text);
    std::size_t piece = data[0];
    for (std::size_t at = 0; at < text.size(); at += piece) {
        piece = piece * 7 % 23 + 1;
        cut.receive(text.substr(at, piece));
    }
    if (whole.replies() != cut.replies()) {
        std::fprintf(stderr, "at once:\n%s\nin pieces:\n%s\n", whole.replies().c_str(),
                     cut.replies().c_str());
        std::abort();
    }
    return 0;
}
