// Errors as text, and the one place where numbers of the system become codes.
#include <ouro/runtime/assert.hpp>
#include <ouro/runtime/error.hpp>
#include <ouro/runtime/result.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "inspection.hpp"

namespace ouro {
namespace {

// A trail longer than this keeps its first half and its last half.
constexpr std::size_t trail_limit = 32;

struct category final : std::error_category {
    const char* name() const noexcept override { return "ouro"; }
    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
        case errc::cancelled:
            return "cancelled";
        case errc::invalid_state:
            return "not possible in this state";
        case errc::loop_closed:
            return "the loop is closed";
        case errc::loop_running:
            return "a loop is already running";
        case errc::wrong_loop:
            return "belongs to another loop";
        case errc::wrong_thread:
            return "called from another thread";
        case errc::stopped_early:
            return "the loop was stopped before this was done";
        case errc::value_error:
            return "value out of range";
        case errc::write_after_eof:
            return "write after write_eof";
        case errc::unsupported:
            return "not supported here";
        case errc::callback_threw:
            return "a callback threw";
        case errc::empty_buffer:
            return "get_buffer returned no memory";
        case errc::incomplete_read:
            return "the stream ended before the data was complete";
        case errc::limit_overrun:
            return "no separator within the limit";
        case errc::already_waiting:
            return "another task waits for this already";
        case errc::end_of_stream:
            return "the stream has ended";
        case errc::server_closed:
            return "the server is closed";
        case errc::already_serving:
            return "serve_forever is running already";
        case errc::no_address:
            return "the name has no address";
        case errc::several_failures:
            return "several attempts failed";
        case errc::broken_promise:
            return "whoever was to give the result is gone";
        case errc::queue_empty:
            return "the queue is empty";
        case errc::queue_full:
            return "the queue is full";
        case errc::queue_shut_down:
            return "the queue was shut down";
        case errc::broken_barrier:
            return "the barrier is broken";
        }
        return "unknown ouro error " + std::to_string(value);
    }
    std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
        case errc::cancelled:
            return std::make_error_condition(std::errc::operation_canceled);
        case errc::value_error:
            return std::make_error_condition(std::errc::invalid_argument);
        case errc::unsupported:
            return std::make_error_condition(std::errc::not_supported);
        default:
            return {value, *this};
        }
    }
};

}  // namespace

const std::error_category& ouro_category() noexcept {
    static const category instance;
    return instance;
}

std::error_code make_error_code(errc value) noexcept {
    return {static_cast<int>(value), ouro_category()};
}

const char* to_string(cancel_cause cause) noexcept {
    switch (cause) {
    case cancel_cause::none:
        return "";
    case cancel_cause::user:
        return "by request";
    case cancel_cause::timeout:
        return "deadline passed";
    case cancel_cause::shutdown:
        return "the loop is closing";
    case cancel_cause::sibling_failed:
        return "a sibling task failed";
    case cancel_cause::not_needed:
        return "another one was first";
    }
    return "";
}

struct error::details {
    std::string doing;
    std::string reason;
    cancel_cause cause = cancel_cause::none;
    std::exception_ptr exception;
    std::source_location trail[trail_limit];
    std::size_t trail_lines = 0;
    std::size_t left_out = 0;  // lines of the trail that were not kept
    std::vector<error> causes;
    bool is_list = false;  // the text is that of the causes
    std::string partial;
    std::size_t count = 0;
};

void error::free_details::operator()(details* memory) const noexcept { delete memory; }

/// Null when there is no memory: an error then keeps its code and loses the rest.
error::details* error::more() noexcept {
    if (!details_) details_.reset(new (std::nothrow) details);
    return details_.get();
}

error::error(std::error_code code, detail::words doing) noexcept
    : value_(code.value()), category_(&code.category()) {
    while_doing(std::move(doing));
}
error::error(errc code, detail::words doing) noexcept
    : error(make_error_code(code), std::move(doing)) {}
error::error(std::errc code, detail::words doing) noexcept
    : error(std::make_error_code(code), std::move(doing)) {}

error error::from_errno(int number, detail::words doing) noexcept {
    return error(std::error_code(number, std::system_category()), std::move(doing));
}

error error::from_exception(std::exception_ptr thrown, detail::words doing) noexcept {
    error made(errc::callback_threw, std::move(doing));
    try {
        std::rethrow_exception(thrown);
    } catch (const std::system_error& known) {
        if (known.code()) {
            made.value_ = known.code().value();
            made.category_ = &known.code().category();
        }
    } catch (...) {
        // Other types keep the general code; `exception` has the object.
    }
    if (auto* known = made.more()) known->exception = std::move(thrown);
    return made;
}

error error::cancelled(cancel_cause cause, detail::words doing) noexcept {
    error made(errc::cancelled, std::move(doing));
    auto* const known = cause != cancel_cause::none ? made.more() : nullptr;
    if (known) known->cause = cause;
    return made;
}

error error::several(std::vector<error> causes, detail::words doing,
                     std::error_code code) noexcept {
    error made(code, std::move(doing));
    if (auto* known = made.more()) {
        known->causes = std::move(causes);
        known->is_list = true;
    }
    return made;
}

error error::first_of(std::vector<error>&& causes) noexcept {
    error made = causes.front();
    if (causes.size() == 1) return made;
    if (auto* known = made.more()) known->causes = std::move(causes);
    return made;
}

error::error(const error& other) noexcept : value_(other.value_), category_(other.category_) {
    if (!other.details_) return;
    try {
        details_.reset(new details(*other.details_));
    } catch (const std::bad_alloc&) {
        // The code is what counts.
    }
}
error& error::operator=(const error& other) noexcept {
    error copy(other);
    *this = std::move(copy);
    return *this;
}

namespace {
const std::string no_text;
}

const std::string& error::doing() const noexcept { return details_ ? details_->doing : no_text; }
cancel_cause error::cause() const noexcept {
    return details_ ? details_->cause : cancel_cause::none;
}
const std::string& error::reason() const noexcept { return details_ ? details_->reason : no_text; }
std::exception_ptr error::exception() const noexcept {
    return details_ ? details_->exception : nullptr;
}
std::span<const std::source_location> error::trail() const noexcept {
    if (!details_) return {};
    return {details_->trail, details_->trail_lines};
}
std::span<const error> error::causes() const noexcept {
    if (!details_) return {};
    return details_->causes;
}
const std::string& error::partial() const noexcept {
    return details_ ? details_->partial : no_text;
}
std::size_t error::count() const noexcept { return details_ ? details_->count : 0; }

namespace {

/// "connect [::1]:81: refused; 127.0.0.1:81: refused": what all were about is said once.
std::string list_of(std::span<const error> causes, const std::string& doing) {
    const std::string common = doing + " ";
    std::string text = doing.empty() ? "Multiple exceptions" : doing;
    for (const error& each : causes) {
        const std::string whole = each.message();
        const bool shared = !doing.empty() && whole.starts_with(common);
        const bool first = &each == causes.data();
        text += first ? (shared ? " " : ": ") : "; ";
        text += shared ? whole.substr(common.size()) : whole;
    }
    return text;
}

}  // namespace

std::string error::message() const {
    if (!*this) return "no error";
    std::string text = details_ && !details_->doing.empty() ? details_->doing + ": " : "";
    if (!details_) return text + code().message();
    if (details_->is_list && !details_->causes.empty()) {
        return list_of(details_->causes, details_->doing);
    }
    // The system's word for it is "Connection timed out", whatever it was.
    const bool deadline = details_->cause == cancel_cause::timeout && *this == std::errc::timed_out;
    text += deadline ? "timed out" : code().message();
    if (!details_->reason.empty()) {
        text += ": " + details_->reason;
    } else if (details_->cause != cancel_cause::none) {
        text += std::string(": ") + to_string(details_->cause);
    }
    if (details_->exception) {
        try {
            std::rethrow_exception(details_->exception);
        } catch (const std::exception& known) {
            text += std::string(" (") + known.what() + ")";
        } catch (...) {
            text += " (an exception that is not a std::exception)";
        }
    }
    if (const std::size_t all = details_->causes.size(); all > 1) {
        text += " (and " + std::to_string(all - 1) + " more)";
    }
    return text;
}

std::string error::describe() const {
    std::string text = message();
    const auto lines = trail();
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (details_->left_out && i == trail_limit / 2) {
            text += "\n    ... " + std::to_string(details_->left_out) + " more";
        }
        if (detail::inspection::is_internal(lines[i])) continue;
        text += "\n    at " + std::string(lines[i].file_name()) + ":" +
                std::to_string(lines[i].line()) + " " +
                short_function_name(lines[i].function_name());
    }
    if (details_ && details_->is_list) return text;  // the message has them
    for (std::size_t i = 1; i < causes().size(); ++i) {
        text += "\n    then " + causes()[i].message();
    }
    return text;
}

error& error::while_doing(detail::words doing) noexcept {
    auto* const known = !doing.empty() && this->doing().empty() ? more() : nullptr;
    if (known) known->doing = std::move(doing);
    return *this;
}

error& error::because(detail::words reason) noexcept {
    auto* const known = !reason.empty() && this->reason().empty() ? more() : nullptr;
    if (known) known->reason = std::move(reason);
    return *this;
}

error& error::becomes(std::errc code, detail::words reason) noexcept {
    auto* const known = !reason.empty() ? more() : nullptr;
    if (known) known->reason = std::move(reason);
    const std::error_code as = std::make_error_code(code);
    value_ = as.value();
    category_ = &as.category();
    return *this;
}

error& error::with_data(std::string partial, std::size_t count) noexcept {
    if (auto* known = more()) {
        known->partial = std::move(partial);
        known->count = count;
    }
    return *this;
}

void error::passed(const std::source_location& where) noexcept {
    details* const known = more();
    if (!known) return;
    if (known->trail_lines == trail_limit) {
        std::move(known->trail + trail_limit / 2 + 1, known->trail + trail_limit,
                  known->trail + trail_limit / 2);
        --known->trail_lines;
        ++known->left_out;
    }
    known->trail[known->trail_lines++] = where;
}

namespace detail {

void throw_error(const error& why) {
    if (auto thrown = why.exception()) std::rethrow_exception(thrown);
    throw std::system_error(why.code(), why.doing());
}

void assert_failed(const char* expression, const char* file, int line, const char* why) noexcept {
    std::fprintf(stderr, "ouro: %s\n    %s:%d: assertion failed: %s\n", why, file, line,
                 expression);
    std::fflush(stderr);
    std::abort();
}

}  // namespace detail
}  // namespace ouro
