// The life of a child and of its pipes.
#include "child_transport.hpp"

#include <unistd.h>

#include <csignal>

namespace ouro::detail {
namespace {

// After the kernel had no memory for the wait.
constexpr auto retry_after = std::chrono::milliseconds(10);
constexpr int unknown_code = 255;  // rule 506

/// What the protocol of a pipe knows of the child. A protocol that is replaced tells nothing more:
/// for the child, that pipe is gone then.
class tie {
  public:
    tie(std::shared_ptr<child_transport> to, int fd) : to_(std::move(to)), fd_(fd) {}
    tie(const tie&) = delete;
    tie& operator=(const tie&) = delete;
    ~tie() {
        if (to_) to_->pipe_gone();
    }
    child_transport& child() const noexcept { return *to_; }
    int fd() const noexcept { return fd_; }
    void lost(error why) {
        const auto to = std::exchange(to_, nullptr);
        to->pipe_lost(fd_, std::move(why));
        to->pipe_gone();
    }

  private:
    std::shared_ptr<child_transport> to_;
    const int fd_;
};

/// What the child writes, on its way to the protocol of the child.
class output_link final : public protocol {
  public:
    output_link(std::shared_ptr<child_transport> of, int fd) : tie_(std::move(of), fd) {}
    void data_received(bytes data) override { tie_.child().pipe_data(tie_.fd(), data); }
    void connection_lost(error why) override { tie_.lost(std::move(why)); }

  private:
    tie tie_;
};

/// What the child reads.
class input_link final : public base_protocol {
  public:
    explicit input_link(std::shared_ptr<child_transport> of) : tie_(std::move(of), STDIN_FILENO) {}
    void pause_writing() override { tie_.child().pipe_pauses(); }
    void resume_writing() override { tie_.child().pipe_resumes(); }
    void connection_lost(error why) override { tie_.lost(std::move(why)); }

  private:
    tie tie_;
};

/// A pipe that has a protocol of its own: the kernel writes into the memory of that.
class direct_link final : public buffered_protocol {
  public:
    direct_link(std::shared_ptr<child_transport> of, int fd,
                std::shared_ptr<buffered_protocol> inner)
        : tie_(std::move(of), fd), inner_(std::move(inner)) {}
    void connection_made(std::shared_ptr<transport> link) override {
        inner_->connection_made(std::move(link));
    }
    mut_bytes get_buffer(std::ptrdiff_t hint) override { return inner_->get_buffer(hint); }
    void buffer_updated(std::size_t count) override { inner_->buffer_updated(count); }
    bool eof_received() override { return inner_->eof_received(); }
    void pause_writing() override { inner_->pause_writing(); }
    void resume_writing() override { inner_->resume_writing(); }
    void connection_lost(error why) override {
        inner_->connection_lost(why);
        tie_.lost(std::move(why));
    }

  private:
    tie tie_;
    const std::shared_ptr<buffered_protocol> inner_;
};

std::shared_ptr<base_protocol> make_link(const std::shared_ptr<child_transport>& of, int fd,
                                         pipe_protocol_factory& pipes) {
    if (pipes) {
        auto inner = std::dynamic_pointer_cast<buffered_protocol>(pipes(fd));
        return std::make_shared<direct_link>(of, fd, std::move(inner));
    }
    if (fd == STDIN_FILENO) return std::make_shared<input_link>(of);
    return std::make_shared<output_link>(of, fd);
}

}  // namespace

child_transport::child_transport(loop& home, std::shared_ptr<subprocess_protocol> receiver)
    : exit_op(&exit_came), home_(&home), receiver_(std::move(receiver)) {
    OURO_ASSERT(receiver_, "a child needs a subprocess_protocol");
    ready_node::run = &run_soon;
    retry_timer::fire = [](timer_node& due) noexcept {
        static_cast<child_transport&>(static_cast<retry_timer&>(due)).watch();
    };
    loop_resource::shut = [](loop_resource& self) noexcept {
        static_cast<child_transport&>(self).shut_down();
    };
}

child_transport::~child_transport() {
    OURO_ASSERT(child_.pidfd < 0, "a child was let go of before it was waited for");
}

// ---- the beginning

namespace {

void close_each(loop& home, const int (&fds)[3]) noexcept {
    for (const int fd : fds) {
        if (fd >= 0) io::close(home, fd);
    }
}

}  // namespace

result<> child_transport::make_pipes(spawn_plan& plan, pipe_protocol_factory& pipes) {
    int ours[3] = {-1, -1, -1};
    result<> made;
    try {
        made = plan.make_pipes(ours);
        for (int fd = 0; fd <= STDERR_FILENO && made; ++fd) {
            if (ours[fd] < 0) continue;
            auto link = make_link(shared_from_this(), fd, pipes);
            if (fd == STDIN_FILENO) {
                pipes_[fd] =
                    std::make_shared<write_pipe>(*home_, io::file_kind::pipe, std::move(link));
            } else {
                pipes_[fd] =
                    std::make_shared<read_pipe>(*home_, io::file_kind::pipe, std::move(link));
            }
            io::disown(*home_, ours[fd]);  // counted by the transport from here on
            pipes_[fd]->own(std::exchange(ours[fd], -1));
            ++pipes_left_;
        }
    } catch (const std::bad_alloc&) {
        made = error(std::errc::not_enough_memory, "make the pipes of a child");
    } catch (...) {  // of a factory
        close_each(*home_, ours);
        throw;
    }
    close_each(*home_, ours);
    return made;
}

result<> child_transport::start(spawn_plan& plan, pipe_protocol_factory& pipes,
                                wait_point* creator) {
    result<io::child> born = error();
    try {
        const auto made = make_pipes(plan, pipes);
        born = made ? plan.start() : result<io::child>(made.error());
    } catch (const std::bad_alloc&) {
        born = error(std::errc::not_enough_memory, "run a program");
    }
    if (!born) {
        for (auto& each : pipes_) each.reset();  // what they tell holds us
        return born.error();
    }
    child_ = *born;
    if (plan.signals_group()) reach_ = io::signal_reach::group;
    self_ = shared_from_this();
    creator_ = creator;
    add_resource(*home_, *this);
    made_due_ = true;
    schedule();
    // Behind us in the ready queue: nothing of a pipe is told before `connection_made` (rule 497).
    for (const auto& each : pipes_) {
        if (each) each->begin_soon(each, nullptr);
    }
    return {};
}

void child_transport::call_made() noexcept {
    begun_ = true;
    guarded("connection_made", [this] { receiver_->connection_made(self_); });
    creator_due_ = creator_ != nullptr;  // in the next turn, when the pipes are made as well
    if (creator_due_) schedule();
}

void child_transport::give_up(cancel_cause cause) noexcept {
    given_up_ = cause;
    shut_down();
}

// ---- what the ready queue runs for us

void child_transport::schedule() noexcept {
    if (!ready_node::queued) make_ready(*home_, *this);
}

void child_transport::run_soon(ready_node& node) noexcept {
    auto& self = static_cast<child_transport&>(node);
    const auto keep = self.self_;
    const context::use in(self.values_);
    self.retired_.clear();
    const bool creator_due = std::exchange(self.creator_due_, false);
    if (std::exchange(self.made_due_, false)) {
        if (self.given_up_ == cancel_cause::none) self.call_made();
        self.watch();
    }
    if (creator_due && self.given_up_ == cancel_cause::none) {
        if (wait_point* creator = std::exchange(self.creator_, nullptr)) {
            creator->complete_or_wake();
        }
    }
    // A node that was queued again must not be freed: then in its next run.
    if (self.lost_due_ && !self.ready_node::queued) self.lose();
}

// ---- its end

void child_transport::watch() noexcept {
    io::wait_child(*home_, static_cast<exit_op&>(*this), child_);
}

void child_transport::exit_came(op& done) noexcept {
    auto& self = static_cast<child_transport&>(static_cast<exit_op&>(done));
    const auto keep = self.self_;
    const context::use in(self.values_);
    self.ended(done.res);
}

void child_transport::ended(std::int32_t res) noexcept {
    auto code = io::collect_child(*home_, child_);
    const bool runs = !code && code.error() == std::errc::resource_unavailable_try_again;
    if (runs && res != -ECANCELED) {  // there was no memory for the wait
        retry_timer::when = home_->time() + retry_after;
        try {
            return add_timer(*home_, *this);
        } catch (const std::bad_alloc&) {
            return watch();
        }
    }
    if (!code) {
        warn(runs ? error(errc::loop_closed, "wait for a child") : code.error());
    }
    code_ = code ? *code : unknown_code;
    io::close(*home_, std::exchange(child_.pidfd, -1));
    if (begun_) guarded("process_exited", [this] { receiver_->process_exited(); });
    finish_if_over();
}

void child_transport::finish_if_over() noexcept {
    if (!code_ || pipes_left_ != 0) return;
    lost_due_ = true;
    schedule();
}

void child_transport::lose() noexcept {
    lost_due_ = false;
    if (begun_) guarded("connection_lost", [this] { receiver_->connection_lost({}); });
    if (wait_point* creator = std::exchange(creator_, nullptr)) {
        creator->wake_failed(error::cancelled(given_up_, "run a program"));
    }
    remove_resource(*home_, *this);
    receiver_.reset();
    self_.reset();
}

// ---- what is asked of it

void child_transport::shut_down() noexcept {
    const auto keep = self_;
    closing_ = true;
    if (!self_) return;  // lost, or never begun
    for (const auto& each : pipes_) {
        if (each) each->abort();
    }
    if (!code_) (void)send_signal(SIGKILL);  // of no effect when it has ended
}

void child_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (!self_) return;
    auto next = std::dynamic_pointer_cast<subprocess_protocol>(std::move(receiver));
    OURO_ASSERT(next, "a child needs a subprocess_protocol");
    retired_.push_back(std::exchange(receiver_, std::move(next)));  // it may be the caller
    schedule();
}

std::any child_transport::extra_info(std::string_view name) const {
    if (name == "pid") return child_.pid;
    if (name == "pidfd") return child_.pidfd;
    return {};
}

std::shared_ptr<transport> child_transport::pipe_transport(int fd) const noexcept {
    if (fd < 0 || fd > STDERR_FILENO) return nullptr;
    return pipes_[fd];
}

std::error_code child_transport::send_signal(int signum) {
    if (code_ || !self_) return std::make_error_code(std::errc::no_such_process);
    auto sent = io::signal_child(*home_, child_, signum, reach_);
    if (sent) return {};
    if (sent.error() == std::errc::invalid_argument) return make_error_code(errc::value_error);
    return sent.error().code();
}

// ---- what its pipes tell

void child_transport::pipe_data(int fd, bytes data) { receiver_->pipe_data_received(fd, data); }
void child_transport::pipe_pauses() { receiver_->pause_writing(); }
void child_transport::pipe_resumes() { receiver_->resume_writing(); }

void child_transport::pipe_lost(int fd, error why) noexcept {
    if (!begun_) return;
    guarded("pipe_connection_lost", [&] { receiver_->pipe_connection_lost(fd, std::move(why)); });
}
void child_transport::pipe_gone() noexcept {
    --pipes_left_;
    finish_if_over();
}

void child_transport::report(const char* where, error why) noexcept try {
    home_->call_exception_handler({.message = std::string("a protocol failed in ") + where,
                                   .error = std::move(why),
                                   .subject = "process " + std::to_string(child_.pid),
                                   .created = {}});
} catch (...) {
    // No memory for the report.
}

/// Its end cannot be told (rule 506).
void child_transport::warn(error why) noexcept try {
    home_->call_exception_handler({.level = severity::warning,
                                   .message = "the exit status of a child is not known",
                                   .error = std::move(why),
                                   .subject = "process " + std::to_string(child_.pid),
                                   .created = {}});
} catch (...) {
    // No memory for the report.
}

}  // namespace ouro::detail
