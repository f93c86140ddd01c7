// One client: requests as they arrive, replies in the same order.
#pragma once

#include <memory>
#include <string>

#include <ouro/ouro.hpp>

#include "commands.hpp"
#include "resp.hpp"

namespace kv {

/// Answers everything that came at once with one write. A client that sends requests and does not
/// read the replies is not read from, and what it sent so far is answered as it makes room.
class session final : public ouro::protocol {
  public:
    explicit session(std::shared_ptr<database> in) : in_(std::move(in)) {}

    void connection_made(std::shared_ptr<ouro::transport> link) override;
    void connection_lost(ouro::error why) override;
    void data_received(ouro::bytes data) override;
    void pause_writing() override;
    void resume_writing() override;

  private:
    std::size_t answer_all(std::string_view input);
    void answer_unfinished();
    void send_replies();

    std::shared_ptr<database> in_;
    std::shared_ptr<ouro::transport> link_;
    request_parser parser_;
    std::string unfinished_;  // what came and is not answered yet
    std::string replies_;     // of this turn
    bool paused_ = false;
};

}  // namespace kv
