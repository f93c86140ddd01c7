// How transports come to live and to be lost.
#include "transport_life.hpp"

#include <ouro/proto/datagram.hpp>
#include <ouro/proto/pipe.hpp>
#include <ouro/proto/transport.hpp>

namespace ouro::detail {

template <class Interface, class View>
transport_life<Interface, View>::~transport_life() {
    if (this->fd_ >= 0) io::close(*this->home_, this->fd_);  // its creator was cancelled
}

template <class Interface, class View>
void transport_life<Interface, View>::begin_soon(std::shared_ptr<transport_life> self,
                                                 wait_point* creator) {
    self_ = std::move(self);
    creator_ = creator;
    add_resource(*this->home_, *this);
    made_due_ = true;
    schedule();
}

template <class Interface, class View>
void transport_life<Interface, View>::call_made() noexcept {
    guarded("connection_made", [this] { tell_made(); });
    begun_ = true;
    start();
    wake_creator();
}

template <class Interface, class View>
void transport_life<Interface, View>::run_soon(ready_node& node) noexcept {
    auto& self = static_cast<transport_life&>(node);
    const auto keep = self.self_;
    const context::use in(self.values_);
    if (std::exchange(self.made_due_, false)) self.call_made();
    self.run_due();
    // A node that was queued again must not be freed: then in its next run.
    if (self.lost_due_ && !self.ready_node::queued) self.lose();
}

template <class Interface, class View>
void transport_life<Interface, View>::end(error why) noexcept {
    if (ending_ || lost_) return;
    closing_ = ending_ = true;
    why_lost_ = std::move(why);
    take_back();
    settle();
}

// rules 725, 726
template <class Interface, class View>
void transport_life<Interface, View>::settle() noexcept {
    if (!ending_ || lost_ || lost_due_ || operations_out()) return;
    lost_due_ = true;
    schedule();
}

template <class Interface, class View>
void transport_life<Interface, View>::tell_lost() noexcept {
    lost_ = true;
    if (begun_) guarded("connection_lost", [this] { receiver_->connection_lost(why_lost_); });
    wake_creator();
}

template <class Interface, class View>
void transport_life<Interface, View>::let_go() noexcept {
    io::close(*this->home_, std::exchange(this->fd_, -1));
    remove_resource(*this->home_, *this);
    receiver_.reset();
    self_.reset();
}

template <class Interface, class View>
void transport_life<Interface, View>::report(const char* where, error why) noexcept try {
    this->home_->call_exception_handler({.message = std::string("a protocol failed in ") + where,
                                         .error = std::move(why),
                                         .subject = describe(),
                                         .created = {}});
} catch (...) {
    // No memory for the report.
}

template class transport_life<transport, socket_view>;
template class transport_life<transport, pipe_view>;
template class transport_life<datagram_transport, socket_view>;

}  // namespace ouro::detail
