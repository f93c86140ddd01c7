// Fault plans as text, and the search for the part of a plan that matters.
#include <ouro/testing/fault.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace ouro::testing {
namespace {

constexpr std::string_view nothing = "none";
constexpr int last_errno = 4095;

bool value_is_errno(fault_kind kind) noexcept {
    return kind == fault_kind::op_fails || kind == fault_kind::accept_fails ||
           kind == fault_kind::no_descriptor;
}

std::string text_of(const fault& one) {
    std::string text = std::string(to_string(one.kind)) + "@" + std::to_string(one.at);
    if (one.sticky) text += "+";
    if (one.value == 0) return text;
    const char* name = nullptr;
    if (value_is_errno(one.kind) && one.value > 0 && one.value <= last_errno) {
        name = ::strerrorname_np(static_cast<int>(one.value));
    }
    return text + "=" + (name ? name : std::to_string(one.value));
}

template <class Number>
std::optional<Number> number_of(std::string_view text) noexcept {
    Number number{};
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, number);
    if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
    return number;
}

std::optional<std::int64_t> errno_named(std::string_view name) noexcept {
    for (int number = 1; number <= last_errno; ++number) {
        const char* const known = ::strerrorname_np(number);
        if (known && name == known) return number;
    }
    return std::nullopt;
}

std::optional<fault_kind> kind_named(std::string_view name) noexcept {
    for (std::size_t i = 0; i < fault_kind_count; ++i) {
        const auto kind = static_cast<fault_kind>(i);
        if (name == to_string(kind)) return kind;
    }
    return std::nullopt;
}

std::optional<fault> read_fault(std::string_view word) noexcept {
    const std::size_t at_sign = word.find('@');
    if (at_sign == word.npos) return std::nullopt;
    const auto kind = kind_named(word.substr(0, at_sign));
    if (!kind) return std::nullopt;
    fault read{.kind = *kind};

    std::string_view rest = word.substr(at_sign + 1);
    if (const std::size_t equals = rest.find('='); equals != rest.npos) {
        const std::string_view text = rest.substr(equals + 1);
        auto value = number_of<std::int64_t>(text);
        if (!value && value_is_errno(read.kind)) value = errno_named(text);
        if (!value) return std::nullopt;
        read.value = *value;
        rest = rest.substr(0, equals);
    }
    if (rest.ends_with('+')) {
        read.sticky = true;
        rest.remove_suffix(1);
    }
    const auto at = number_of<std::uint64_t>(rest);
    if (!at || *at == 0) return std::nullopt;
    read.at = *at;
    return read;
}

}  // namespace

std::string_view to_string(fault_kind kind) noexcept {
    // Not a table: the compiler tells when a kind has no name here.
    switch (kind) {
    case fault_kind::short_receive:
        return "short_receive";
    case fault_kind::short_send:
        return "short_send";
    case fault_kind::ring_exhausted:
        return "ring_exhausted";
    case fault_kind::multishot_ends:
        return "multishot_ends";
    case fault_kind::late_completion:
        return "late_completion";
    case fault_kind::cancel_misses:
        return "cancel_misses";
    case fault_kind::accept_fails:
        return "accept_fails";
    case fault_kind::no_descriptor:
        return "no_descriptor";
    case fault_kind::delay:
        return "delay";
    case fault_kind::loss:
        return "loss";
    case fault_kind::duplicate:
        return "duplicate";
    case fault_kind::reorder:
        return "reorder";
    case fault_kind::partition:
        return "partition";
    case fault_kind::clog:
        return "clog";
    case fault_kind::reset:
        return "reset";
    case fault_kind::refuse:
        return "refuse";
    case fault_kind::no_name:
        return "no_name";
    case fault_kind::slow_name:
        return "slow_name";
    case fault_kind::op_fails:
        return "op_fails";
    case fault_kind::op_short:
        return "op_short";
    case fault_kind::op_waits:
        return "op_waits";
    case fault_kind::allocation_fails:
        return "allocation_fails";
    }
    return "?";
}

std::string to_string(const fault_plan& plan) {
    if (plan.empty()) return std::string(nothing);
    std::string text;
    for (const fault& each : plan) text += (text.empty() ? "" : ",") + text_of(each);
    return text;
}

result<fault_plan> parse_fault_plan(std::string_view text) {
    fault_plan plan;
    if (text == nothing) return plan;
    for (;;) {
        const std::size_t comma = text.find(',');
        const std::string_view word = text.substr(0, comma);
        const auto read = read_fault(word);
        if (!read) {
            return error(errc::value_error, "'" + std::string(word) +
                                                "' is no fault; one looks like reset@3 or "
                                                "op_fails@17+=ECONNRESET");
        }
        plan.push_back(*read);
        if (comma == text.npos) return plan;
        text.remove_prefix(comma + 1);
    }
}

fault_plan shrink(fault_plan plan, const std::function<bool(const fault_plan&)>& fails) {
    for (std::size_t part = plan.size(); part > 0;) {
        const std::size_t before = plan.size();
        for (std::size_t from = 0; from < plan.size();) {
            const auto first = plan.begin() + static_cast<std::ptrdiff_t>(from);
            const auto count = std::min(part, plan.size() - from);
            fault_plan less(plan.begin(), first);
            less.insert(less.end(), first + static_cast<std::ptrdiff_t>(count), plan.end());
            if (fails(less)) {
                plan = std::move(less);
            } else {
                from += part;
            }
        }
        // What could not go before may go now that other faults are out.
        if (plan.size() == before) part /= 2;
        part = std::min(part, plan.size());
    }
    return plan;
}

}  // namespace ouro::testing
