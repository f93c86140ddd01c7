// Bytes into lines, for the ends that are protocols.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <ouro/ouro.hpp>

class line_protocol : public ouro::protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    void data_received(ouro::bytes data) override {
        unfinished_ += ouro::as_text(data);
        for (std::size_t end; (end = unfinished_.find('\n')) != std::string::npos;) {
            std::string line = unfinished_.substr(0, end);
            unfinished_.erase(0, end + 1);
            line_received(std::move(line));
        }
    }

  protected:
    virtual void line_received(std::string line) = 0;
    ouro::transport& link() { return *link_; }

  private:
    std::shared_ptr<ouro::transport> link_;
    std::string unfinished_;
};
