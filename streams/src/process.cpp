// Children with streams: an ordinary subprocess protocol, with a stream on each pipe.
#include <ouro/streams/process.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>

#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/waiters.hpp>

#include "stream_core.hpp"

namespace ouro {
namespace detail {

class process_core final : public subprocess_protocol {
  public:
    void connection_made(std::shared_ptr<subprocess_transport> link) override {
        link_ = std::move(link);
    }
    void pipe_connection_lost(int fd, error) override {
        if (fd != STDIN_FILENO) --outputs_left;
        close_if_over();
    }
    void process_exited() override {
        ended_ = true;
        close_if_over();
    }
    void connection_lost(error) override {
        lost_ = true;
        waiting_.wake_all();
    }

    subprocess_transport& link() const noexcept { return *link_; }
    bool lost() const noexcept { return lost_; }
    waiter_list::waiter wait() noexcept {
        static constexpr wait_kind kind{"wait for a process", &waiter_list::waiter::leave};
        return waiting_.wait(kind);
    }

    int outputs_left = 0;  // pipes that can still be read

  private:
    /// A grandchild may hold the input open for as long as it likes (rule 540).
    void close_if_over() {
        if (ended_ && outputs_left == 0) link_->close();
    }

    std::shared_ptr<subprocess_transport> link_;
    waiter_list waiting_;
    bool ended_ = false;
    bool lost_ = false;
};

namespace {

constexpr std::size_t piece_bytes = 65536;

task<int> wait_for_end(std::shared_ptr<process_core> core) {
    while (!core->lost()) co_await core->wait();
    co_return core->link().return_code().value();
}

task<> feed(std::optional<stream_writer>& in, std::string input) {
    if (!in) co_return;
    std::string_view rest = input;
    while (!rest.empty() && !in->is_closing()) {
        const std::string_view piece = rest.substr(0, piece_bytes);
        rest.remove_prefix(piece.size());
        in->write(piece);
        auto taken = co_await as_result(in->drain());
        if (taken) continue;
        const bool gone = taken.error() == std::errc::broken_pipe ||
                          taken.error() == std::errc::connection_reset;  // rule 535
        if (!gone) co_await std::move(taken);
        break;
    }
    in->close();
}

task<std::optional<std::string>> collect(std::optional<stream_reader>& from, std::size_t most) {
    if (!from) co_return std::nullopt;
    std::string all;
    for (;;) {
        const bytes piece = co_await from->read_some();
        if (piece.empty()) co_return all;
        if (piece.size() > most - all.size()) {
            co_return error(errc::limit_overrun, "communicate (a child wrote more than " +
                                                     std::to_string(most) + " bytes)");
        }
        all.append(as_text(piece));
    }
}

}  // namespace
}  // namespace detail

process::process(std::shared_ptr<detail::process_core> core) noexcept : core_(std::move(core)) {}
process::~process() {
    if (core_ && !core_->lost()) core_->link().close();
}
process& process::operator=(process&& other) noexcept {
    std::swap(core_, other.core_);
    in.swap(other.in);
    out.swap(other.out);
    err.swap(other.err);
    return *this;
}

int process::pid() const noexcept { return transport().pid(); }
std::optional<int> process::return_code() const noexcept { return transport().return_code(); }
task<int> process::wait() const {
    OURO_ASSERT(core_, "a moved-from process was used");
    return detail::wait_for_end(core_);
}
std::error_code process::send_signal(int signum) { return transport().send_signal(signum); }
std::error_code process::terminate() { return transport().terminate(); }
std::error_code process::kill() { return transport().kill(); }
subprocess_transport& process::transport() const noexcept {
    OURO_ASSERT(core_, "a moved-from process was used");
    return core_->link();
}

task<process_output> process::communicate(std::string input, communicate_options options) {
    process_output all;
    auto [fed, text, complaints] = co_await gather(detail::feed(in, std::move(input)),
                                                   detail::collect(out, options.most_bytes),
                                                   detail::collect(err, options.most_bytes));
    all.out = std::move(text);
    all.err = std::move(complaints);
    co_await wait();
    co_return all;
}

task<process> create_subprocess_exec(std::vector<std::string> arguments, subprocess_options options,
                                     std::size_t limit_bytes) {
    using stream_core = detail::stream_core;
    stream_core::checked_limit(limit_bytes);
    for (stdio* each : {&options.in, &options.out, &options.err}) {
        if (each->what() == stdio::kind::usual) *each = stdio::inherit;
    }
    auto core = std::make_shared<detail::process_core>();
    auto streams = std::make_shared<std::array<std::shared_ptr<stream_core>, 3>>();
    const auto make_stream = [core, streams,
                              limit_bytes](int fd) -> std::shared_ptr<base_protocol> {
        auto& made = (*streams)[static_cast<std::size_t>(fd)];
        made = std::make_shared<stream_core>(limit_bytes);
        if (fd != STDIN_FILENO) ++core->outputs_left;
        return made;
    };
    co_await detail::start_subprocess(core, std::move(arguments), std::move(options), make_stream);
    process made(std::move(core));
    auto& [in, out, err] = *streams;
    if (in) made.in.emplace(std::move(in));
    if (out) made.out.emplace(std::move(out));
    if (err) made.err.emplace(std::move(err));
    co_return made;
}

task<process> create_subprocess_shell(std::string command, subprocess_options options,
                                      std::size_t limit_bytes) {
    return create_subprocess_exec(detail::shell_arguments(std::move(command)), std::move(options),
                                  limit_bytes);
}

}  // namespace ouro
