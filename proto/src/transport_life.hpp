// The life that transports on a descriptor share: made, begun, ended, lost.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <ouro/proto/protocol.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro::detail {

/// States, and what may happen in them:
///
///   made -> open -> (peer's end of stream, kept open) -> closing: flushing -> ending: cancelling
///   -> lost
///
/// `closing` refuses new input and lets output drain; `ending` drops output and waits for the
/// operations to come back; then `connection_lost` is called from the ready queue, the descriptor
/// is closed, and the transport lets go of itself.
///
/// `Interface` is what its users see, `View` what they see of the descriptor.
template <class Interface, class View>
class transport_life : public Interface, public View, public loop_resource, protected ready_node {
  public:
    ~transport_life() override;

    /// Makes it live from the next turn on, and wakes `creator` then, if there is one.
    void begin_soon(std::shared_ptr<transport_life> self, wait_point* creator);
    /// The creator does not wait any more.
    void forget_creator() noexcept { creator_ = nullptr; }

    bool is_closing() const noexcept override { return closing_; }
    std::shared_ptr<base_protocol> get_protocol() const override { return receiver_; }
    void abort() override { end({}); }

  protected:
    template <class... Details>
    explicit transport_life(loop& home, int fd, Details... of) : View(home, fd, of...) {
        ready_node::run = &run_soon;
        loop_resource::shut = [](loop_resource& self) noexcept {
            static_cast<transport_life&>(self).abort();
        };
    }

    /// Calls `connection_made`.
    virtual void tell_made() = 0;
    /// What comes after that.
    virtual void start() noexcept = 0;
    /// What else is due when the ready queue comes to it.
    virtual void run_due() noexcept = 0;
    /// Asks the operations to come back, and drops what is kept.
    virtual void take_back() noexcept = 0;
    /// The kernel holds something of it.
    virtual bool operations_out() const noexcept = 0;
    /// The last step: `tell_lost`, and `let_go` once nothing needs the descriptor any more.
    virtual void lose() noexcept = 0;
    /// What it is, for reports.
    virtual std::string describe() const = 0;

    /// The first step: `connection_made`, then `start`.
    void call_made() noexcept;
    /// Takes the operations back, then the connection is lost with `why`. The first reason counts.
    void end(error why) noexcept;
    /// An operation is back: if it was the last one of an ending transport, that is lost.
    void settle() noexcept;
    void tell_lost() noexcept;
    void let_go() noexcept;
    /// Has the ready queue come to it.
    void schedule() noexcept {
        if (!ready_node::queued) make_ready(*this->home_, *this);
    }
    /// Calls into the protocol; what it throws is reported.
    template <class Callback>
    void guarded(const char* where, Callback&& callback) noexcept {
        try {
            callback();
        } catch (...) {
            report(where, error::from_exception(std::current_exception(), where));
        }
    }
    void report(const char* where, error why) noexcept;
    /// Who hears of late calls: users may keep a lost transport for longer than its loop lives.
    loop* who_hears() const noexcept { return lost_ ? loop::try_current() : this->home_; }

    // First, where the ready node leaves room.
    bool begun_ = false;  // connection_made has returned
    bool closing_ = false;
    bool ending_ = false;  // connection_lost is due once the operations are back
    bool lost_ = false;
    bool made_due_ = false;  // what the ready node is queued for
    bool lost_due_ = false;
    std::shared_ptr<transport_life> self_;  // the loop's hold, until lost
    context values_ = context::current();   // what callbacks run with (rule 291)
    std::shared_ptr<base_protocol> receiver_;
    wait_point* creator_ = nullptr;
    error why_lost_;

  private:
    static void run_soon(ready_node& node) noexcept;
    void wake_creator() noexcept {
        if (wait_point* creator = std::exchange(creator_, nullptr)) creator->complete_or_wake();
    }
};

}  // namespace ouro::detail
