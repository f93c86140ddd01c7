#include "store.hpp"

#include <charconv>

namespace kv {

store::map::iterator store::find(std::string_view key) {
    const auto at = entries_.find(key);
    if (at == entries_.end() || !at->second.expires || *at->second.expires > now_) return at;
    erase(at);
    return entries_.end();
}

void store::erase(map::iterator at) {
    set_deadline(at, std::nullopt);
    entries_.erase(at);
}

void store::set_deadline(map::iterator at, std::optional<time_point> when) {
    auto& expires = at->second.expires;
    if (expires == when) return;
    if (when) deadlines_.emplace(*when, at->first);
    if (expires) deadlines_.erase({*expires, at->first});
    expires = when;
}

const std::string* store::get(std::string_view key) {
    const auto at = find(key);
    return at == entries_.end() ? nullptr : &at->second.value;
}

void store::set(std::string_view key, std::string_view value, std::optional<time_point> when) {
    auto at = entries_.find(key);
    if (at == entries_.end()) {
        at = entries_.emplace(key, entry{std::string(value)}).first;
    } else {
        at->second.value = value;
    }
    set_deadline(at, when);
}

bool store::remove(std::string_view key) {
    const auto at = find(key);
    if (at == entries_.end()) return false;
    erase(at);
    return true;
}

std::optional<std::int64_t> store::add(std::string_view key, std::int64_t what) {
    const auto at = find(key);
    std::int64_t number = 0;
    if (at != entries_.end()) {
        const std::string& text = at->second.value;
        const char* const end = text.data() + text.size();
        const auto [stopped, failure] = std::from_chars(text.data(), end, number);
        if (failure != std::errc() || stopped != end) return std::nullopt;
    }
    if (__builtin_add_overflow(number, what, &number)) return std::nullopt;
    char text[24];
    const std::string_view written(text, std::to_chars(text, text + sizeof text, number).ptr);
    if (at == entries_.end()) {
        set(key, written);
    } else {
        at->second.value = written;  // and keeps its deadline
    }
    return number;
}

bool store::expire(std::string_view key, std::optional<time_point> when) {
    const auto at = find(key);
    if (at == entries_.end()) return false;
    set_deadline(at, when);
    return true;
}

std::optional<std::optional<time_point>> store::deadline(std::string_view key) {
    const auto at = find(key);
    if (at == entries_.end()) return std::nullopt;
    return at->second.expires;
}

bool store::drop_expired(std::size_t most) {
    while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
        if (most-- == 0) return true;
        erase(entries_.find(deadlines_.begin()->second));
    }
    return false;
}

void store::clear() noexcept {
    deadlines_.clear();
    entries_.clear();
}

}  // namespace kv
