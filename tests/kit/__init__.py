"""What tests share: workflows as data, engines side by side, a model that is told what to say."""
