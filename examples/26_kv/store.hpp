// What is kept: texts by name, some of them until a point in time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace kv {

using time_point = std::chrono::steady_clock::time_point;

/// Texts by name. What has expired is never seen; `drop_expired` gives its memory back.
class store {
  public:
    /// The time that all other calls go by.
    void set_now(time_point now) noexcept { now_ = now; }

    /// The value, or null. Valid until the next change.
    const std::string* get(std::string_view key);
    /// Sets a value, which expires at `when` or never.
    void set(std::string_view key, std::string_view value,
             std::optional<time_point> when = std::nullopt);
    /// Removes a key; false when there is none.
    bool remove(std::string_view key);
    /// Adds to a number; a missing one is 0. Nothing when the value is no number, or the sum none
    /// that fits.
    std::optional<std::int64_t> add(std::string_view key, std::int64_t what);
    /// Gives a key a deadline, or takes it away; false when there is no such key.
    bool expire(std::string_view key, std::optional<time_point> when);
    /// The deadline of a key; outer nothing: no such key.
    std::optional<std::optional<time_point>> deadline(std::string_view key);

    /// Frees up to `most` keys whose time has come; true when there are more.
    bool drop_expired(std::size_t most);
    void clear() noexcept;
    /// Keys, those included that have expired and are not freed yet.
    std::size_t size() const noexcept { return entries_.size(); }
    /// How many keys have a deadline.
    std::size_t mortal_count() const noexcept { return deadlines_.size(); }

  private:
    struct entry {
        std::string value;
        std::optional<time_point> expires{};
    };
    struct hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view key) const noexcept {
            return std::hash<std::string_view>()(key);
        }
    };
    using map = std::unordered_map<std::string, entry, hash, std::equal_to<>>;

    map::iterator find(std::string_view key);
    void set_deadline(map::iterator at, std::optional<time_point> when);
    void erase(map::iterator at);

    map entries_;
    // In order. The names are those of the map, whose nodes stay where they are.
    std::set<std::pair<time_point, std::string_view>> deadlines_;
    time_point now_{};
};

}  // namespace kv
