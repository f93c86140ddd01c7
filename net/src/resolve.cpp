// Names to addresses.
#include <ouro/net/resolve.hpp>

#include <netdb.h>

#include <optional>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/wait.hpp>

#include "resolve_for.hpp"

namespace ouro {
namespace {

void cancel_resolve(detail::wait_point& wait, cancel_cause cause) noexcept;
std::string describe_resolve(const detail::wait_point& wait);
constexpr detail::wait_kind resolve_kind{"resolve", &cancel_resolve, nullptr, &describe_resolve};

/// The await of one look-up; on behalf of a socket, if there is one.
class lookup : public detail::awaitable<lookup, std::vector<address>> {
  public:
    lookup(loop& home, std::string host, std::uint16_t port, const resolve_options& options,
           detail::socket_state* on = nullptr)
        : awaitable(resolve_kind), home_(home), request_(&lookup::finished) {
        if (on) use_.emplace(*on);
        request_.host = std::move(host);
        request_.service = std::to_string(port);
        request_.family = options.family;
        request_.flags = AI_NUMERICSERV | (options.for_listening ? AI_PASSIVE : 0);
        request_.self = this;
    }
    void start() noexcept {
        if (use_) use_->target->begin(*use_, request_);
        io::resolve(home_, request_);
    }
    std::vector<address> value() const {
        std::vector<address> found;
        for (const auto& each : request_.answers) {
            found.emplace_back(reinterpret_cast<const sockaddr*>(&each.storage), each.length);
        }
        return found;
    }
    std::string describe() const { return request_.host + ":" + request_.service; }
    void cancel(cancel_cause cause) noexcept {
        cause_ = cause;
        io::cancel(home_, request_);
    }

  private:
    struct request : io::resolve_op {
        using resolve_op::resolve_op;
        lookup* self = nullptr;
    };
    static void finished(op& done) noexcept {
        lookup& self = *static_cast<request&>(done).self;
        if (done.res == 0 && self.cause_ == cancel_cause::none) return self.complete();
        detail::words doing([&] { return self.phrase(); });
        // An answer that came together with the cancel is dropped: nothing is lost by that.
        if (done.res == -ECANCELED || self.cause_ != cancel_cause::none)
            return self.fail(error::cancelled(self.cause_, std::move(doing)));
        if (self.answered_no()) {
            return self.fail(error(errc::no_address, std::move(doing)));
        }
        self.fail(error::from_errno(-done.res, std::move(doing)));
    }

    bool answered_no() const noexcept {
        return request_.gai_code != 0 && request_.gai_code != EAI_SYSTEM;
    }
    std::string phrase() const {
        std::string text = "resolve " + request_.host;
        if (answered_no()) text += std::string(" (") + ::gai_strerror(request_.gai_code) + ")";
        return text;
    }

    loop& home_;
    std::optional<detail::socket_state::use> use_;
    request request_;
    cancel_cause cause_ = cancel_cause::none;
};

void cancel_resolve(detail::wait_point& wait, cancel_cause cause) noexcept {
    static_cast<lookup&>(wait).cancel(cause);
}

std::string describe_resolve(const detail::wait_point& wait) {
    return static_cast<const lookup&>(wait).describe();
}

}  // namespace

namespace {

task<std::vector<address>> look_up(std::string host, std::uint16_t port, resolve_options options,
                                   detail::socket_state* on) {
    if (host.find('\0') != host.npos) {
        co_return error(errc::value_error, "resolve a name with a zero byte in it");
    }
    if (auto numeric = address::from_ip(host, port)) {
        if (options.family == AF_UNSPEC || options.family == numeric->family()) {
            co_return std::vector<address>{*numeric};
        }
    }
    auto found = co_await lookup(loop::current(), host, port, options, on);
    if (found.empty()) co_return error(errc::no_address, "resolve " + host);
    co_return found;
}

}  // namespace

task<std::vector<address>> resolve(std::string host, std::uint16_t port, resolve_options options) {
    return look_up(std::move(host), port, options, nullptr);
}

task<address> detail::resolve_for(socket_state& on, std::string host, std::uint16_t port) {
    const int family = co_await io::get_option(*on.home, on.fd, SOL_SOCKET, SO_DOMAIN);
    const auto found = co_await look_up(std::move(host), port, {.family = family}, &on);
    co_return found.front();
}

}  // namespace ouro
