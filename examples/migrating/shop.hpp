// What the service knows and what the client asks: the same in all steps.
#pragma once

#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include <ouro/runtime/result.hpp>

/// Requests are "set KEY VALUE", "get KEY" and "wait KEY", which is answered after `pause`.
class shop {
  public:
    static constexpr std::chrono::hours pause{1};

    static bool is_slow(const std::string& request) { return request.starts_with("wait "); }

    std::string answer(const std::string& request) {
        const auto verb_end = request.find(' ');
        const auto key_end = request.find(' ', verb_end + 1);
        const std::string key = request.substr(verb_end + 1, key_end - verb_end - 1);
        if (key_end != std::string::npos) {
            values_[key] = request.substr(key_end + 1);
            return "ok";
        }
        const auto found = values_.find(key);
        return found == values_.end() ? "unknown" : found->second;
    }

  private:
    std::map<std::string, std::string> values_;
};

/// What the client asks, one after the other. The last answer does not come in time.
inline const std::array<std::string, 4> requests = {"set price 42", "get price", "get weight",
                                                    "wait price"};
/// How long it waits for each.
constexpr std::chrono::milliseconds patience{500};

inline void show(const std::string& request, const ouro::result<std::string>& reply) {
    std::printf("%s -> %s\n", request.c_str(), reply ? reply->c_str() : "no answer");
}
