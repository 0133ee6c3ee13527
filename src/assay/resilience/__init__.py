"""The layers around each model, one file for each, over the mechanisms they use."""
